"""What all metrics need of embeddings: unit length, and means under resampling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_SCORES = 1 << 24  # of one part of a table: 64 MiB in float32


def normalize(embeddings: np.ndarray) -> np.ndarray:
    """Return ``embeddings`` (..., N, d) with rows of unit L2 norm, float32; a zero row stays zero.

    Raises:
        ValueError: a value is NaN or infinite, or there is no feature axis.
    """
    embeddings = np.asarray(embeddings, dtype=np.float32)
    if embeddings.ndim < 2:
        raise ValueError(f"embeddings must have shape (..., N, d), got {embeddings.shape}")
    if not np.isfinite(embeddings).all():
        raise ValueError("embeddings must be finite, got NaN or infinity")
    norms = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    unit: np.ndarray = embeddings / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


def row_parts(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Yield slices of all ``num_rows`` rows, each of at most 2^24 scores, ``num_columns`` a row.

    So memory does not grow with the square of a set; a slice holds one row at least.
    """
    step = max(1, _SCORES // max(1, num_columns))
    for start in range(0, num_rows, step):
        yield slice(start, start + step)


def linearized(value: float, influence: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Return a statistic under resampling to first order: value + sum_i (count_i - 1) influence_i.

    It stands in for statistics over pairs of items, whose exact replicates would cost N^2 each (the
    infinitesimal jackknife: Efron, 1982, ch. 6).

    Args:
        value: the statistic on all items, each counted once.
        influence: (N,), the statistic's derivative in each item's count.
        counts: (..., N), how often each item is drawn; None returns ``value``.
    """
    influence = np.asarray(influence, dtype=np.float64)
    if counts is None:
        whole: np.ndarray = np.asarray(value, dtype=np.float64)[()]
        return whole
    replicates: np.ndarray = value + (np.asarray(counts, dtype=np.float64) - 1) @ influence
    return replicates


def weighted_mean(values: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of ``values`` (N,), items drawn ``counts`` (..., N) times.

    NaN where none is drawn.
    """
    values = np.asarray(values, dtype=np.float64)
    counts = np.ones(len(values)) if counts is None else np.asarray(counts, dtype=np.float64)
    total = counts.sum(axis=-1)
    unknown = np.full(np.shape(total), np.nan)
    mean: np.ndarray = np.divide(counts @ values, total, out=unknown, where=total > 0)[()]
    return mean


def sum_by_class(
    embeddings: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit embeddings (N, d) float64, class indices (N,), and sums over classes, (C, d).

    Args:
        embeddings: (N, d).
        labels: (N,), any values that can be sorted.

    Raises:
        ValueError: there is no embedding, or not one label for each.
    """
    unit = normalize(embeddings).astype(np.float64)
    _, classes = np.unique(labels, return_inverse=True)
    if len(unit) != len(classes) or len(unit) == 0:
        raise ValueError(
            f"labels must name a class for each of {len(unit)} > 0 embeddings, got {len(classes)}"
        )
    sums = np.zeros((classes.max() + 1, unit.shape[1]))
    np.add.at(sums, classes, unit)
    return unit, classes, sums
