"""How sure a score is: percentile bootstrap over items, paired differences, McNemar's exact test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from dcr.metrics.embeddings import weighted_mean

_ELEMENTS = 1 << 22  # numbers of one chunk of draws: 32 MiB

Statistics = Callable[[np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Bootstrap:
    """Percentile bootstrap (Efron and Tibshirani, 1993, ch. 13): items are drawn with replacement.

    The draws depend on ``seed``, the number of items and their groups alone: two encoders on one set are
    compared on the same resamples.
    """

    num_resamples: int
    confidence: float
    seed: int

    def __post_init__(self):
        if self.num_resamples < 1:
            raise ValueError(f"num_resamples must be >= 1, got {self.num_resamples}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie in (0, 1), got {self.confidence}")

    def draw(self, num_items: int, groups: Sequence | None = None) -> Iterator[np.ndarray]:
        """Yield chunks (r, N) of draws, ``num_resamples`` rows in all: how often each item occurs.

        With ``groups`` (N,) each group keeps its size.
        """
        labels = np.zeros(num_items, dtype=np.int64) if groups is None else np.asarray(groups)
        if len(labels) != num_items or num_items == 0:
            raise ValueError(f"groups must have one entry for each of {num_items} > 0 items, got {len(labels)}")
        members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        generator = np.random.default_rng(self.seed)
        rows = max(1, _ELEMENTS // num_items)
        for start in range(0, self.num_resamples, rows):
            shape = (min(rows, self.num_resamples - start), num_items)
            offsets = np.arange(shape[0])[:, None] * num_items
            drawn = [part[generator.integers(len(part), size=(shape[0], len(part)))] + offsets for part in members]
            flat = np.concatenate(drawn, axis=1).ravel()
            yield np.bincount(flat, minlength=shape[0] * num_items).reshape(shape).astype(np.float64)

    def intervals(
        self, statistics: Statistics, num_items: int, groups: Sequence | None = None
    ) -> dict[str, tuple[float, float]]:
        """Return the interval (low, high) of each value of ``statistics(counts (r, N)) -> {name: (r,)}``."""
        chunks = [statistics(counts) for counts in self.draw(num_items, groups)]
        tail = (1 - self.confidence) / 2
        replicates = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        return {
            name: tuple(float(bound) for bound in np.nanquantile(values, [tail, 1 - tail]))
            for name, values in replicates.items()
        }

    def paired_difference(
        self, before: np.ndarray, after: np.ndarray, groups: Sequence | None = None
    ) -> tuple[float, float, float]:
        """Return the mean of ``after - before`` (N,) and its interval; with groups, of their means."""
        before, after = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
        if before.shape != after.shape:
            raise ValueError(f"before and after must have one shape (N,), got {before.shape} and {after.shape}")
        labels = np.zeros(len(before), dtype=np.int64) if groups is None else np.asarray(groups)

        def statistics(counts: np.ndarray) -> dict[str, np.ndarray]:
            parts = [labels == label for label in np.unique(labels)]
            means = [weighted_mean((after - before)[part], counts[..., part]) for part in parts]
            return {"difference": np.mean(means, axis=0)}

        low, high = self.intervals(statistics, len(before), groups)["difference"]
        return float(statistics(np.ones(len(before)))["difference"]), low, high


def mean_of_independent(
    values: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> tuple[float, tuple[float, float]]:
    """Return the mean of scores of different sets and its interval, from each score's own interval.

    The limits' distances add up in squares, on either side by itself (Zou and Donner, Statistics in Medicine 2008); an
    interval that lies beside its value counts from the value.
    """
    values, bounds = np.asarray(values, dtype=np.float64), np.asarray(intervals, dtype=np.float64)
    if bounds.shape != (len(values), 2) or len(values) == 0:
        raise ValueError(f"every value needs an interval (low, high), got {values.shape} and {bounds.shape}")
    below, above = np.maximum(values - bounds[:, 0], 0), np.maximum(bounds[:, 1] - values, 0)
    mean, num = float(values.mean()), len(values)
    return mean, (mean - float(np.linalg.norm(below)) / num, mean + float(np.linalg.norm(above)) / num)


def mcnemar(before: np.ndarray, after: np.ndarray) -> tuple[int, int, float]:
    """Return items gained, items lost, and the exact two-sided p value of their being equally likely.

    Args:
        before, after: (N,) bool, the same items answered right by one encoder and by the other.
    """
    before, after = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    if before.shape != after.shape:
        raise ValueError(f"before and after must have one shape (N,), got {before.shape} and {after.shape}")
    gained, lost = int(np.sum(after & ~before)), int(np.sum(before & ~after))
    return gained, lost, binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
