"""Zero-shot classification by text, with CLIP_benchmark's metric names.

Source: Radford et al., ICML 2021.
"""

from __future__ import annotations

import numpy as np

from dcr.metrics.embeddings import normalize, row_parts, weighted_mean


def build_classifier(texts: np.ndarray) -> np.ndarray:
    """Return class weights (C, d) from ``texts``: C classes' embeddings in T templates, (C, T, d).

    Each text is normalised, the mean over templates is normalised again.
    """
    if texts.ndim != 3:
        raise ValueError(f"texts must have shape (C, T, d), got {texts.shape}")
    return normalize(normalize(texts).mean(axis=1))


def rank_labels(images: np.ndarray, classifier: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many other classes score at least as high as the true one: (N,) int, 0 is right.

    Equal scores count against the encoder, so that one that maps all to one point has accuracy 0.

    Args:
        images: embeddings, (N, d).
        classifier: class weights of unit length, (C, d).
        labels: (N,) int, the true class of each image.
    """
    if len(images) != len(labels):
        raise ValueError(
            f"labels must name a class for each of {len(images)} images, got {len(labels)}"
        )
    ranks = np.empty(len(images), dtype=np.int64)
    for part in row_parts(len(images), len(classifier)):
        scores = normalize(images[part]) @ classifier.T
        true = np.take_along_axis(scores, labels[part, None], axis=1)
        ranks[part] = (scores >= true).sum(axis=1) - 1
    return ranks


def zero_shot_scores(
    ranks: np.ndarray, labels: np.ndarray, counts: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return ``acc1``, ``acc5`` and ``mean_per_class_recall`` (over the classes that occur).

    Args:
        ranks: (N,) int of `rank_labels`, 0 for an image that is named rightly.
        labels: (N,), the true class of each image.
        counts: (..., N), how often each image is drawn; once by default.
    """
    ranks = np.asarray(ranks)
    labels = np.asarray(labels)
    if ranks.shape != labels.shape or len(ranks) == 0:
        raise ValueError(
            f"ranks and labels must have one shape (N,), got {ranks.shape} and {labels.shape}"
        )
    recalls = [
        weighted_mean(
            ranks[labels == label] < 1, None if counts is None else counts[..., labels == label]
        )
        for label in np.unique(labels)
    ]
    return {
        "acc1": weighted_mean(ranks < 1, counts),
        "acc5": weighted_mean(ranks < 5, counts),
        "mean_per_class_recall": np.nanmean(recalls, axis=0),
    }
