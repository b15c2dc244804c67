"""How sure a score is: percentile bootstrap over items, and McNemar's exact test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import binomtest

_ELEMENTS = 1 << 22  # numbers of one chunk of draws: 32 MiB

Statistics = Callable[[np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Bootstrap:
    """Percentile bootstrap (Efron and Tibshirani, 1993, ch. 13): items are drawn with replacement.

    The draws depend on ``seed``, the number of items and their groups alone: two encoders on one
    set are compared on the same resamples.

    Attributes:
        num_resamples: R, draws of all items, 1 or more.
        confidence: coverage of the intervals, in (0, 1).
        seed: of the draws.
    """

    num_resamples: int
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        if self.num_resamples < 1:
            raise ValueError(f"num_resamples must be >= 1, got {self.num_resamples}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie in (0, 1), got {self.confidence}")

    def draw(self, num_items: int, groups: Sequence[Any] | None = None) -> Iterator[np.ndarray]:
        """Yield chunks (r, N) of draws, ``num_resamples`` rows in all: how often each item occurs.

        Draws that fit one chunk are kept for the next measure.

        Args:
            num_items: N, > 0.
            groups: (N,), each of which keeps its size in every draw; None draws from all alike.
        """
        labels = np.zeros(num_items, dtype=np.int64) if groups is None else np.asarray(groups)
        if len(labels) != num_items or num_items == 0:
            raise ValueError(
                f"groups must have one entry for each of {num_items} > 0 items, got {len(labels)}"
            )
        if num_items * self.num_resamples <= _ELEMENTS:
            yield from _kept_draws(self.num_resamples, self.seed, tuple(labels.tolist()))
        else:
            yield from _draw(self.num_resamples, self.seed, labels)

    def replicates(
        self, statistics: Statistics, num_items: int, groups: Sequence[Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Return each value of ``statistics`` in every resample, (R,) by name.

        It is called as ``statistics(counts (r, N)) -> {name: (r,)}``.

        Args:
            statistics: the values by name, from how often each item is drawn.
            num_items: N.
            groups: (N,), see `draw`.
        """
        chunks = [statistics(counts) for counts in self.draw(num_items, groups)]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def intervals(
        self, statistics: Statistics, num_items: int, groups: Sequence[Any] | None = None
    ) -> dict[str, tuple[float, float]]:
        """Return the interval (low, high) of each value of ``statistics``.

        ``num_items`` and ``groups`` are drawn from as in `replicates`.
        """
        replicates = self.replicates(statistics, num_items, groups)
        return {
            name: percentile_interval(values, self.confidence)
            for name, values in replicates.items()
        }


def _draw(num_resamples: int, seed: int, labels: np.ndarray) -> Iterator[np.ndarray]:
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    generator = np.random.default_rng(seed)
    num_items = len(labels)
    rows = max(1, _ELEMENTS // num_items)
    for start in range(0, num_resamples, rows):
        shape = (min(rows, num_resamples - start), num_items)
        offsets = np.arange(shape[0])[:, None] * num_items
        drawn = [
            part[generator.integers(len(part), size=(shape[0], len(part)))] + offsets
            for part in members
        ]
        flat = np.concatenate(drawn, axis=1).ravel()
        yield np.bincount(flat, minlength=shape[0] * num_items).reshape(shape).astype(np.float64)


@lru_cache(maxsize=4)
def _kept_draws(num_resamples: int, seed: int, labels: tuple[Any, ...]) -> list[np.ndarray]:
    chunks = list(_draw(num_resamples, seed, np.array(labels)))
    for chunk in chunks:
        chunk.setflags(write=False)
    return chunks


def percentile_interval(replicates: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the interval (low, high) of the middle ``confidence`` of ``replicates`` (R,).

    NaN are left out.
    """
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(np.asarray(replicates, dtype=np.float64), [tail, 1 - tail])
    return float(low), float(high)


def mcnemar(before: np.ndarray, after: np.ndarray) -> tuple[int, int, float]:
    """Return items gained, items lost, and the exact two-sided p value.

    Its null hypothesis is that gain and loss are equally likely.

    Args:
        before, after: (N,) bool, the same items answered right by one encoder and by the other.
    """
    before = np.asarray(before, dtype=bool)
    after = np.asarray(after, dtype=bool)
    if before.shape != after.shape:
        raise ValueError(
            f"before and after must have one shape (N,), got {before.shape} and {after.shape}"
        )
    gained = int(np.sum(after & ~before))
    lost = int(np.sum(before & ~after))
    return gained, lost, binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
