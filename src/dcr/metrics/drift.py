"""How far an encoder has moved from another on the same images.

It is measured by linear CKA and overlap of nearest neighbours.
"""

from __future__ import annotations

import numpy as np

from dcr.metrics.embeddings import linearized, normalize, row_parts, weighted_mean


def linear_cka(
    before: np.ndarray, after: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
    """Return linear centred kernel alignment in [0, 1]; 1 if one is the other rotated and scaled.

    |Y'X|^2 / (|X'X| |Y'Y|) in Frobenius norms over centred features (Kornblith et al., ICML 2019);
    of features as they come, not normalised. O(N d^2), no pair of items is formed; NaN where all
    features of a side are equal. Under resampling it is taken to first order.

    Args:
        before: (N, d). after: (N, e), of the same items.
        counts: (..., N).
    """
    if len(before) != len(after) or len(before) < 2:
        raise ValueError(
            f"before and after must hold the same items, at least 2, got {len(before)} and"
            f" {len(after)}"
        )
    x, y = (_centred(features) for features in (before, after))
    cross = x.T @ y
    own_x = x.T @ x
    own_y = y.T @ y
    norms = [np.square(moments).sum() for moments in (cross, own_x, own_y)]
    if min(norms[1:]) == 0:
        unknown: np.ndarray = np.full(np.shape(counts)[:-1] if counts is not None else (), np.nan)
        return unknown[()]
    value = norms[0] / np.sqrt(norms[1] * norms[2])
    terms = [_quadratic(x, cross, y), _quadratic(x, own_x, x), _quadratic(y, own_y, y)]
    relative = [2 * term / norm if norm else term for term, norm in zip(terms, norms, strict=True)]
    influence = value * (relative[0] - relative[1] / 2 - relative[2] / 2)
    likeness: np.ndarray = np.clip(linearized(value, influence, counts), 0, 1)
    return likeness


def _centred(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    centred = features - features.mean(axis=0)
    scale = np.abs(centred).max()
    if scale <= 1e-12 * max(1.0, np.abs(features).max()):
        return np.zeros_like(centred)
    scaled: np.ndarray = centred / scale
    return scaled


def _quadratic(x: np.ndarray, moments: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return x_i' M y_i for each item."""
    values: np.ndarray = np.einsum("nd,nd->n", x @ moments, y)
    return values


def find_neighbours(
    embeddings: np.ndarray, num_neighbours: int, queries: np.ndarray | None = None
) -> np.ndarray:
    """Return the ``num_neighbours`` other items of highest cosine, nearest first: (Q, K) int.

    Args:
        embeddings: (N, d). num_neighbours: K < N.
        queries: (Q,) rows of ``embeddings``; all by default. Scores are taken in parts: memory is
            O(N).
    """
    if not 1 <= num_neighbours < len(embeddings):
        raise ValueError(
            f"num_neighbours must lie in [1, {len(embeddings) - 1}], got {num_neighbours}"
        )
    unit = normalize(embeddings)
    queries = np.arange(len(unit)) if queries is None else np.asarray(queries)
    found = np.empty((len(queries), num_neighbours), dtype=np.int64)
    for part in row_parts(len(queries), len(unit)):
        rows = queries[part]
        scores = unit[rows] @ unit.T
        scores[np.arange(len(rows)), rows] = -np.inf
        nearest = np.argpartition(-scores, num_neighbours - 1, axis=1)[:, :num_neighbours]
        order = np.argsort(-np.take_along_axis(scores, nearest, axis=1), axis=1, kind="stable")
        found[part] = np.take_along_axis(nearest, order, axis=1)
    return found


def neighbour_overlap(before: np.ndarray, after: np.ndarray, num_neighbours: int) -> np.ndarray:
    """Return for each item (N,) the share of its nearest neighbours before that still are after.

    Args:
        before: (N, d). after: (N, e), of the same items.
        num_neighbours: K < N, how many count as nearest.
    """
    if len(before) != len(after):
        raise ValueError(
            f"before and after must hold the same items, got {len(before)} and {len(after)}"
        )
    first, second = (find_neighbours(features, num_neighbours) for features in (before, after))
    shares: np.ndarray = (first[:, :, None] == second[:, None, :]).any(axis=2).mean(axis=1)
    return shares


def drift_scores(
    before: np.ndarray,
    after: np.ndarray,
    overlap: np.ndarray,
    num_neighbours: int,
    counts: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return ``cka`` and ``neighbour_overlap@K`` of two encoders' features of the same items.

    Args:
        before: (N, d). after: (N, e).
        overlap: (N,) of `neighbour_overlap` with K = ``num_neighbours``.
        counts: (..., N).
    """
    return {
        "cka": linear_cka(before, after, counts),
        f"neighbour_overlap@{num_neighbours}": weighted_mean(overlap, counts),
    }
