"""Measurements that are known beforehand, for the tests of what is judged by them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dcr.evaluation.comparison import Comparison, Estimate
from dcr.evaluation.measurements import Measured
from dcr.metrics.bootstrap import Bootstrap

BOOTSTRAP = Bootstrap(num_resamples=500, confidence=0.95, seed=0)


def mean_of(
    answers: Sequence[float], items: str = "images", bootstrap: Bootstrap = BOOTSTRAP
) -> Measured:
    """Return the mean over items of ``answers`` (N,), and what it is in every resample."""
    values = np.asarray(answers, dtype=np.float64)
    replicates = np.concatenate(
        [counts @ values / len(values) for counts in bootstrap.draw(len(values))]
    )
    return Measured(float(values.mean()), replicates.astype(np.float32), items)


def constant(value: float, items: str = "images", num_resamples: int = 20) -> Measured:
    """Return a measure that is the same in every resample."""
    return Measured(value, np.full(num_resamples, value, dtype=np.float32), items)


def measurements(key: str, **encoders: Measured) -> dict[str, dict[str, dict[str, Measured]]]:
    """Return measurements of encoders in one measure, ``benchmark.metric``."""
    benchmark, _, metric = key.partition(".")
    return {name: {benchmark: {metric: measured}} for name, measured in encoders.items()}


def comparison(
    key: str,
    before: float,
    after: float,
    interval: tuple[float, float] = (-1, 1),
    num_seeds: int = 3,
) -> Comparison:
    """Return a comparison with a given interval of the difference."""
    benchmark, _, metric = key.partition(".")
    first, second = Estimate(before, before, before, 0), Estimate(after, after, after, num_seeds)
    return Comparison(
        benchmark, metric, first, second, Estimate(after - before, *interval, num_seeds)
    )
