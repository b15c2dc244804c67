"""What a linear or a nearest-neighbour reader finds in frozen features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dcr.metrics.embeddings import normalize, weighted_mean


def predict_linear(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    inverse_regularization: float = 1.0,
    max_iterations: int = 1000,
) -> np.ndarray:
    """Return labels (M,) for test features (M, d) by logistic regression on train features (N, d).

    Features are standardised, not L2-normalised. CLIP_benchmark's probe trains with AdamW and
    searches its decay; this one has one optimum and no seed.

    Args:
        train, test: features (N, d) and (M, d), of any length.
        train_labels: (N,), of two values or more.
        inverse_regularization: C, the weight of the data against the L2 penalty; > 0.
        max_iterations: of L-BFGS.
    """
    if len(np.unique(train_labels)) < 2:
        raise ValueError("train_labels must hold at least 2 different labels, got 1")
    regression = LogisticRegression(C=inverse_regularization, max_iter=max_iterations)
    model = make_pipeline(StandardScaler(), regression)
    model.fit(np.asarray(train, dtype=np.float64), train_labels)
    labels: np.ndarray = model.predict(np.asarray(test, dtype=np.float64))
    return labels


def predict_neighbours(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, num_neighbours: int = 20
) -> np.ndarray:
    """Return labels (M,) by the majority among the train features of highest cosine.

    Args:
        train, test: features (N, d) and (M, d), of any length.
        train_labels: (N,).
        num_neighbours: how many vote, from 1 to N.
    """
    if not 1 <= num_neighbours <= len(train):
        raise ValueError(
            f"num_neighbours must lie in [1, {len(train)} train features], got {num_neighbours}"
        )
    model = KNeighborsClassifier(num_neighbours, algorithm="brute").fit(
        normalize(train), train_labels
    )
    labels: np.ndarray = model.predict(normalize(test))
    return labels


def probe_scores(
    correct: Mapping[str, np.ndarray], counts: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the accuracy of each attribute and their ``mean``.

    Args:
        correct: by attribute, (N,) bool: whether it was read right.
        counts: (..., N), how often each item is drawn; once by default.
    """
    if not correct:
        raise ValueError("correct must name at least one attribute, got none")
    accuracies = {name: weighted_mean(values, counts) for name, values in correct.items()}
    return {"mean": np.mean(list(accuracies.values()), axis=0), **accuracies}
