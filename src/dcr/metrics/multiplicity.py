"""Verdicts that are read together: Holm's correction for their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return the p values (N,) adjusted for their number, in their order.

    With the p values sorted, p_1 <= ... <= p_N, the i-th is adjusted to

        max over j <= i of min(1, (N - j + 1) p_j).

    Rejecting those at most alpha keeps the probability of any false rejection at alpha, whatever
    the p values depend on: measures of the same items do (Holm, Scandinavian Journal of Statistics
    1979). It rejects all that Bonferroni's N p does, and more.

    Args:
        p_values: (N,), each in [0, 1].

    Raises:
        ValueError: one is not.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p_values must be (N,) in [0, 1], got {p_values}")
    order = np.argsort(values, kind="stable")
    scaled = np.minimum(1, np.arange(len(values), 0, -1) * values[order])
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted
