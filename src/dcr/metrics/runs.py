"""Mean and spread of a score over training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student


@dataclass(frozen=True)
class Spread:
    """A score over R runs that differ in their seed.

    mean; std: of a single run (divisor R - 1), NaN for one run; interval: Student's confidence interval of the mean,
    (NaN, NaN) for one run.
    """

    num_runs: int
    mean: float
    std: float
    interval: tuple[float, float]


def spread_over_runs(values: Sequence[float], confidence: float) -> Spread:
    """Return mean and spread of one score over runs; ``values`` (R,), one a run."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not 0 < confidence < 1:
        raise ValueError(f"values must be (R,) with R > 0 and confidence in (0, 1), got {values.shape}, {confidence}")
    mean, number = float(values.mean()), len(values)
    if number == 1:
        return Spread(1, mean, float("nan"), (float("nan"), float("nan")))
    std = float(values.std(ddof=1))
    reach = float(student.ppf((1 + confidence) / 2, number - 1)) * std / number**0.5
    return Spread(number, mean, std, (mean - reach, mean + reach))
