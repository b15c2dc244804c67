"""Which samples are like an earlier one, like an evaluation image, or far from all others.

Vectors come in blocks, as they lie on disk; memory holds one block and the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from dcr.likeness.index import SAMPLE_PER_CELL, VectorIndex, num_cells

Blocks = Callable[[], Iterable[np.ndarray]]
"""Returns an iterator over unit vectors (n, d) float32; a vector of zeros stands for none."""

_AT_ONCE = 1024  # vectors that are compared with each other before they are added


def build_index(blocks: Blocks, count: int) -> VectorIndex:
    """Return an empty index whose cells fit the vectors.

    Args:
        blocks: the vectors.
        count: how many there are.
    """
    wanted = min(count, SAMPLE_PER_CELL * num_cells(count))
    places = np.unique(np.linspace(0, count - 1, wanted).astype(np.int64))
    parts = []
    start = 0
    for vectors in blocks():
        here = places[(places >= start) & (places < start + len(vectors))] - start
        parts.append(_known(vectors[here]))
        start += len(vectors)
    return VectorIndex(np.concatenate(parts), count)


def add_unlike(index: VectorIndex, blocks: Blocks, threshold: float | None) -> np.ndarray:
    """Add those vectors that are like no earlier one, and return whom the others are like.

    Returns:
        int64 (N,): the place of the one in the index that a vector is like, -1 for those that were
        added and for those of zeros.

    Args:
        index: takes the vectors under their places, from 0.
        blocks: the vectors.
        threshold: similarity from which two are alike; None adds all.
    """
    leaders = [np.empty(0, np.int64)]
    start = 0
    for vectors in _pieces(blocks()):
        like = np.full(len(vectors), -1, np.int64)
        if threshold is not None and len(index):
            like = _like(index, vectors, threshold)
        is_new = (like < 0) & vectors.any(axis=1)
        if threshold is not None:
            _compare_within(vectors, like, is_new, start, threshold)
        index.add(vectors[is_new], start + np.flatnonzero(is_new))
        leaders.append(like)
        start += len(vectors)
    return np.concatenate(leaders)


def _compare_within(
    vectors: np.ndarray, like: np.ndarray, is_new: np.ndarray, start: int, threshold: float
) -> None:
    """Have a piece's new vectors follow the earlier new ones of it that they are like."""
    near = np.tril(vectors @ vectors.T >= threshold, -1) & is_new & is_new[:, None]
    for row in np.flatnonzero(near.any(axis=1)):
        if len(earlier := np.flatnonzero(near[row] & is_new)):
            like[row] = start + earlier[0]
            is_new[row] = False


def distances(index: VectorIndex, blocks: Blocks, num_neighbours: int) -> np.ndarray:
    """Return each vector's mean cosine distance to the nearest others of the index, (N,) float32.

    It is NaN for vectors of zeros, and where there is no other vector.

    Args:
        index: holds the vectors, or most of them, under their places.
        blocks: the vectors.
        num_neighbours: nearest to take the mean of.
    """
    found = [np.empty(0, np.float32)]
    start = 0
    for vectors in _pieces(blocks()):
        similarities, places = index.nearest(vectors, num_neighbours + 1)
        own = start + np.arange(len(vectors))
        similarities[(places < 0) | (places == own[:, None])] = np.nan
        nearest = -np.sort(-similarities, axis=1)[:, :num_neighbours]  # NaN comes last
        is_there = ~np.isnan(nearest)
        sums = np.where(is_there, 1 - nearest, 0).sum(axis=1)
        with np.errstate(invalid="ignore"):
            means = sums / is_there.sum(axis=1)
        means[~vectors.any(axis=1)] = np.nan
        found.append(means.astype(np.float32))
        start += len(vectors)
    return np.concatenate(found)


def nearest_of(index: VectorIndex, blocks: Blocks, threshold: float) -> np.ndarray:
    """Return the place of the nearest vector of the index, -1 where none is like, int64 (N,).

    Args:
        index: of other vectors.
        blocks: those to look up.
        threshold: similarity from which two are alike.
    """
    found = [np.empty(0, np.int64)]
    found += [_like(index, vectors, threshold) for vectors in blocks()]
    return np.concatenate(found)


def _like(index: VectorIndex, vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Return the place of the nearest that each vector is like, -1 for none and for zeros."""
    similarities, places = index.nearest(vectors)
    is_like = (similarities[:, 0] >= threshold) & vectors.any(axis=1)
    return np.where(is_like, places[:, 0], -1)


def _pieces(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for vectors in blocks:
        for start in range(0, len(vectors), _AT_ONCE):
            yield vectors[start : start + _AT_ONCE]


def _known(vectors: np.ndarray) -> np.ndarray:
    return vectors[vectors.any(axis=1)]
