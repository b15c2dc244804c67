"""What a linear and a nearest-neighbour reader find in frozen patch tokens.

Notation: M patches that readers learn from, Q patches that are read, w width of a token, C classes.
``shares`` say what share of a patch's pixels is of each class, see
`dcr.metrics.segmentation.patch_shares`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch.nn import functional

_ROWS = 4096
_ELEMENTS = 1 << 25  # similarities at once: 128 MiB
_LEAST_DEVIATION = 1e-6  # of a token's column, below which it is constant


@dataclass(frozen=True)
class LinearReader:
    """Class logits of a token: ``token @ weight + bias``, weight (w, C), bias (C,), float64."""

    weight: np.ndarray
    bias: np.ndarray


def fit_linear(
    tokens: np.ndarray, shares: np.ndarray, inverse_regularization: float, max_iterations: int
) -> LinearReader:
    """Return the logistic regression of the pixels' classes on their patches' tokens.

    The cross-entropy of all pixels, each with the logits of its patch: patch by patch it is
    -sum_c shares[c] log softmax(logits)[c]. To that comes the L2 penalty of scikit-learn's
    ``LogisticRegression``, |weight|^2 / (2 C). Tokens are standardised, as the batch norm before
    the linear layer of DINOv2's segmentation head does (Oquab et al., 2024, appendix B.3). It has
    one optimum and no seed.

    Args:
        tokens: (M, w) float32, of which a few thousand rows at a time become float64.
        shares: (M, C) float32.
        inverse_regularization: C, the weight of the data against the penalty; > 0.
        max_iterations: of L-BFGS.
    """
    mean = tokens.mean(axis=0, dtype=np.float64)
    deviation = tokens.std(axis=0, dtype=np.float64)
    deviation[deviation < _LEAST_DEVIATION * (1 + np.abs(mean))] = np.inf  # says nothing
    width, num_classes = tokens.shape[1], shares.shape[1]
    number = float(shares.sum(dtype=np.float64))
    penalty = 1 / (inverse_regularization * number)

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield standardised tokens and their shares, both float64."""
        for start in range(0, len(tokens), _ROWS):
            part = slice(start, start + _ROWS)
            yield (tokens[part] - mean) / deviation, shares[part].astype(np.float64)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean loss of a pixel with the penalty, and its gradient."""
        weight = flat.reshape(width + 1, num_classes)
        gradient = np.zeros_like(weight)
        gradient[:-1] = penalty * weight[:-1]
        loss = penalty * np.sum(weight[:-1] ** 2) / 2
        for rows, wanted in blocks():
            logits = rows @ weight[:-1] + weight[-1]
            logits -= logits.max(axis=1, keepdims=True)
            logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
            loss -= np.sum(wanted * logits) / number
            error = (np.exp(logits) * wanted.sum(axis=1, keepdims=True) - wanted) / number
            gradient[:-1] += rows.T @ error
            gradient[-1] += error.sum(axis=0)
        return float(loss), gradient.ravel()

    start = np.zeros((width + 1) * num_classes)
    # The least gradient is that of scikit-learn's LogisticRegression.
    options = {"maxiter": max_iterations, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    weight = found.x.reshape(width + 1, num_classes)
    scaled = weight[:-1] / deviation[:, None]
    return LinearReader(scaled, weight[-1] - mean @ scaled)


def vote_neighbours(
    tokens: torch.Tensor,
    memory: torch.Tensor,
    shares: torch.Tensor,
    num_neighbours: int,
    temperature: float,
) -> torch.Tensor:
    """Return what the nearest patches of a memory say of each token's classes, (Q, C) float32.

    The retrieval of Balazevic et al., 2023 (Towards In-Context Scene Understanding, section 3): of
    the tokens of highest cosine, the shares of their classes, weighted by softmax(cosine /
    temperature).

    Args:
        tokens: (Q, w), of any length.
        memory: (M, w), of length 1, on the same device.
        shares: (M, C).
        num_neighbours: how many vote, from 1 to M.
        temperature: > 0; the smaller, the more the nearest counts.
    """
    if not 1 <= num_neighbours <= len(memory):
        raise ValueError(
            f"num_neighbours must lie in [1, {len(memory)} patches], got {num_neighbours}"
        )
    rows = max(1, _ELEMENTS // len(memory))
    votes = []
    for part in functional.normalize(tokens, dim=-1).split(rows):
        nearest = (part @ memory.T).topk(num_neighbours, dim=-1)
        weights = (nearest.values / temperature).softmax(dim=-1)
        votes.append(torch.einsum("qk,qkc->qc", weights, shares[nearest.indices]))
    return torch.cat(votes)
