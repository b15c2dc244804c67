"""The linear map that brings embeddings nearest to others, in closed form.

Notation: N pairs, B of a batch, d width of the embedding; X (N, d) unit embeddings to map, Y (N, d)
those that they are brought to: X a trained encoder's images and Y the base's, or X captions and Y
their images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class CrossMoments:
    """Sums over batches from which the ridge regression of Y on X follows for every ridge at once.

    Memory is that of two d x d sums and one batch, whatever N is.

    Args:
        width: d.
    """

    def __init__(self, width: int) -> None:
        self.num_pairs = 0
        self._inputs = np.zeros((width, width))
        self._targets = np.zeros((width, width))

    def add(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        """Add a batch of X, ``inputs``, and Y, ``targets``, (B, d) each, of any floating dtype."""
        inputs = inputs.astype(np.float64)
        self.num_pairs += len(inputs)
        self._inputs += inputs.T @ inputs
        self._targets += inputs.T @ targets.astype(np.float64)

    def solve(self, ridges: Sequence[float]) -> dict[float, np.ndarray]:
        """Return ``A = (X^T X + ridge N I)^-1 X^T Y``, (d, d) float64, by ridge.

        X A is nearest to Y. One eigendecomposition of X^T X serves all ridges.

        Args:
            ridges: each > 0; shares of the embeddings' mean square length, which is 1.
        """
        values, vectors = np.linalg.eigh(self._inputs)
        rotated = vectors.T @ self._targets
        values = values.clip(min=0.0)[:, None]
        return {ridge: vectors @ (rotated / (values + ridge * self.num_pairs)) for ridge in ridges}


def mean_cosine(inputs: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean cosine of rows of ``inputs`` and ``targets``, (N, d) each.

    A row without length has cosine 0.
    """
    inputs = inputs.astype(np.float64)
    targets = targets.astype(np.float64)
    lengths = np.linalg.norm(inputs, axis=1) * np.linalg.norm(targets, axis=1)
    products = (inputs * targets).sum(axis=1)
    return float(np.divide(products, lengths, out=np.zeros_like(lengths), where=lengths > 0).mean())


def fit_ridge_map(
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    held_out: tuple[np.ndarray, np.ndarray],
    ridges: Sequence[float],
) -> tuple[np.ndarray, float, dict[float, float]]:
    """Fit the map and choose its ridge by the mean cosine of X, mapped, and Y on held-out pairs.

    Args:
        batches: X and Y piece by piece, read once.
        held_out: X and Y of pairs that are in no batch.
        ridges: those to choose from; of equal ones the first in the list is taken.

    Returns:
        the map, (d, d) float64, its ridge, and the held-out cosine by ridge.
    """
    moments = CrossMoments(held_out[0].shape[1])
    for inputs, targets in batches:
        moments.add(inputs, targets)
    maps = moments.solve(ridges)
    cosines = {
        ridge: mean_cosine(held_out[0] @ matrix, held_out[1]) for ridge, matrix in maps.items()
    }
    best = max(cosines, key=cosines.__getitem__)
    return maps[best], best, cosines


def blend(matrix: np.ndarray, share: float) -> np.ndarray:
    """Return the map that goes ``share`` of the way from the identity to ``matrix``, (d, d)."""
    return (1 - share) * np.eye(len(matrix)) + share * matrix
