"""MMVP-VLM: does each of two alike statements find its image?

Source: Tong et al., CVPR 2024, arXiv 2401.06209.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcr.metrics.embeddings import normalize, weighted_mean


@dataclass(frozen=True)
class PairAnswers:
    """Answers to P pairs.

    probabilities: (P, 2) float32, the softmax weight that text 1 and text 2 give to the pair's
    first image. correct: (P,) bool, text 1 prefers the first image and text 2 the second.
    ties: (P,) bool, at least one text cannot tell the images apart; such a pair is never correct.
    """

    probabilities: np.ndarray
    correct: np.ndarray
    ties: np.ndarray


def answer_pairs(images: np.ndarray, texts: np.ndarray, logit_scale: float) -> PairAnswers:
    """Let each text of a pair choose between the pair's two images.

    The dot products are accumulated in float64 and rounded to float32, so that equal images tie
    whatever the order of summation; the softmax is float32.

    Args:
        images: embeddings of the pairs' images, (P, 2, d), the odd id's first.
        texts: embeddings of the pairs' texts, (P, 2, d), in the same order.
        logit_scale: the model's temperature as a factor, > 0.
    """
    if images.ndim != 3 or images.shape[1] != 2 or images.shape != texts.shape:
        raise ValueError(
            f"images and texts must have one shape (P, 2, d), got {images.shape}, {texts.shape}"
        )
    if not logit_scale > 0:
        raise ValueError(f"logit_scale must be > 0, got {logit_scale}")
    cosines = np.einsum("ptd,pid->pti", normalize(texts), normalize(images), dtype=np.float64)
    logits = (logit_scale * cosines).astype(np.float32)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = weights[..., 0] / weights.sum(axis=-1)
    half = np.float32(0.5)
    return PairAnswers(
        probabilities=probabilities,
        correct=(probabilities[:, 0] > half) & (probabilities[:, 1] < half),
        ties=(probabilities == half).any(axis=1),
    )


def mmvp_scores(
    correct: np.ndarray, types: Sequence[str], counts: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return each type's share of correct pairs, in order of appearance, and their ``mean``.

    Args:
        correct: (P,) bool, see `PairAnswers`.
        types: (P,), the type of each pair.
        counts: (..., P), how often each pair is drawn; once by default.
    """
    correct = np.asarray(correct)
    names = np.asarray(types)
    if len(correct) != len(types) or len(types) == 0:
        raise ValueError(
            f"correct and types must have one length > 0, got {len(correct)} and {len(types)}"
        )
    shares = {
        str(name): weighted_mean(
            correct[names == name], None if counts is None else counts[..., names == name]
        )
        for name in dict.fromkeys(names.tolist())
    }
    return {"mean": np.mean(list(shares.values()), axis=0), **shares}
