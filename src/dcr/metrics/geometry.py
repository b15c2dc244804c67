"""How an encoder's features lie: likeness in and between classes, alignment, uniformity.

Alignment is that of pairs, uniformity that on the sphere. All are means over pairs of different
items; under resampling they are taken to first order (`dcr.metrics.embeddings.linearized`).
"""

from __future__ import annotations

import numpy as np

from dcr.metrics.embeddings import linearized, normalize, row_parts, sum_by_class, weighted_mean


def similarity_scores(
    embeddings: np.ndarray, labels: np.ndarray, counts: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return ``inner_class`` and ``inter_class``: mean cosines within one class and between two.

    Computed from sums over classes in O(N d): no pair is formed. NaN where there is no such pair.

    Args:
        embeddings: (N, d).
        labels: (N,).
        counts: (..., N).
    """
    unit, classes, sums = sum_by_class(embeddings, labels)
    sizes = np.bincount(classes)[classes]
    own = np.einsum("nd,nd->n", unit, sums[classes])
    inner = own - np.einsum("nd,nd->n", unit, unit)  # to the others of the class
    return {
        "inner_class": _mean_over_pairs(inner, sizes - 1, counts),
        "inter_class": _mean_over_pairs(unit @ unit.sum(axis=0) - own, len(unit) - sizes, counts),
    }


def _mean_over_pairs(
    sums: np.ndarray, numbers: np.ndarray, counts: np.ndarray | None
) -> np.ndarray:
    """Return the mean over ordered pairs, from each item's sum over partners and their number.

    Both are (N,).
    """
    total = numbers.sum()
    if total == 0:
        return np.full(np.shape(counts)[:-1] if counts is not None else (), np.nan)[()]
    mean = sums.sum() / total
    return linearized(mean, 2 * (sums - mean * numbers) / total, counts)


def uniformity_scores(
    embeddings: np.ndarray, counts: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return ``uniformity``, log of the mean of exp(-2 |x - y|^2) over pairs of unit vectors.

    0 where all are one point; features spread evenly over a sphere of many dimensions come near -4
    (Wang and Isola, ICML 2020, t = 2). Distances are taken in parts: memory is O(N).

    Args:
        embeddings: (N, d), N >= 2.
        counts: (..., N).
    """
    unit = normalize(embeddings)
    number = len(unit)
    if number < 2:
        raise ValueError(f"uniformity needs at least 2 embeddings, got {number}")
    kernel = np.empty(number)
    for part in row_parts(number, number):
        cosines = (unit[part] @ unit.T).astype(np.float64)
        kernel[part] = np.exp(4 * (np.minimum(cosines, 1) - 1)).sum(axis=1)
    # Pairs of each with itself are left out.
    kernel -= np.exp(4 * (np.minimum(np.einsum("nd,nd->n", unit, unit, dtype=np.float64), 1) - 1))
    total = kernel.sum()
    pairs = number * (number - 1)
    influence = 2 * kernel / total - 2 * (number - 1) / pairs
    return {"uniformity": linearized(np.log(total / pairs), influence, counts)}


def alignment_of_pairs(
    first: np.ndarray, second: np.ndarray, owner: np.ndarray, counts: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return ``alignment``: mean squared distance of positive pairs' unit vectors, in [0, 4].

    Wang and Isola, ICML 2020, alpha = 2. Here a pair is an image and its caption.

    Args:
        first: (N, d). second: (T, d).
        owner: (T,), the row of ``first`` that a row of ``second`` is paired with.
        counts: (..., N), of rows of ``first``.
    """
    first = normalize(first)
    second = normalize(second)
    distances = np.square(first[owner].astype(np.float64) - second).sum(axis=1)
    sums = np.bincount(owner, weights=distances, minlength=len(first))
    numbers = np.bincount(owner, minlength=len(first))
    return {"alignment": weighted_mean(sums, counts) / weighted_mean(numbers, counts)}
