"""P-Ability: MMVP-VLM, and what became of the features of its images."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from dcr.data.benchmark_sets import MMVPSet
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.features import measure_drift
from dcr.evaluation.long_texts import count_cut
from dcr.evaluation.overriding import override_pairs
from dcr.evaluation.results import EvaluationOptions, Items, Result, outcomes_of, score
from dcr.metrics.mmvp import PairAnswers, answer_pairs, mmvp_scores
from dcr.metrics.retrieval import alignment_scores

logger = logging.getLogger(__name__)

_UNIT = "pair of images"
_CHANCE = 0.25  # two texts choose between two images each


def evaluate_mmvp(
    embedder: Embedder, mmvp: MMVPSet, options: EvaluationOptions, reference: Embedder | None = None
) -> Iterator[Result]:
    """MMVP-VLM per type and mean; pairs are resampled within their type.

    With ``options.compare_features`` also how far its images lie from their statements, and their
    features' drift from ``reference``'s.

    Args:
        embedder: the encoder.
        mmvp: the set; an item of its resamples is a pair.
        options: see `EvaluationOptions`.
        reference: the encoder that features are compared with; None leaves the drift out.
    """
    statements = [text for pair in mmvp.pairs for text in pair.texts]
    images = embedder.images(mmvp, f"{mmvp.name} images")
    texts = embedder.texts(statements, f"{mmvp.name} texts")
    if mmvp.is_overridden:
        mmvp, images, texts = _override(mmvp, images, texts)
    answered = _answer(embedder.backbone.logit_scale, mmvp, images, texts, options)
    cut = count_cut(embedder.backbone, statements, "statements")
    yield replace(answered, notes=cut.tell())
    if not options.compare_features:
        return
    yield _align(mmvp, images, texts, options)
    if reference is not None:
        before = reference.images(mmvp, f"{mmvp.name} images")
        yield measure_drift(
            "mmvp_drift", mmvp.name, before, images, Items(_UNIT, _names(mmvp)), options
        )


def _override(
    mmvp: MMVPSet, images: np.ndarray, texts: np.ndarray
) -> tuple[MMVPSet, np.ndarray, np.ndarray]:
    """Return the pairs that stay, with the embeddings of their images and texts, two a pair."""
    kept, pairs, swapped = override_pairs(mmvp, _names(mmvp))
    shape = (len(mmvp.pairs), 2, -1)
    by_pair = texts.reshape(shape)[kept]
    by_pair[swapped] = by_pair[swapped][:, ::-1]
    changed = replace(mmvp, pairs=pairs)
    return (
        changed,
        images.reshape(shape)[kept].reshape(-1, images.shape[1]),
        by_pair.reshape(-1, texts.shape[1]),
    )


def _answer(
    logit_scale: float,
    mmvp: MMVPSet,
    images: np.ndarray,
    texts: np.ndarray,
    options: EvaluationOptions,
) -> Result:
    shape = (len(mmvp.pairs), 2, -1)
    answers = answer_pairs(images.reshape(shape), texts.reshape(shape), logit_scale)
    if answers.ties.any():
        logger.warning("%s: %d pairs are ties, counted as wrong", mmvp.name, answers.ties.sum())
    types = [pair.type for pair in mmvp.pairs]
    items = Items(_UNIT, _names(mmvp), types)
    scored = score(
        lambda counts: mmvp_scores(answers.correct, types, counts), items, options.bootstrap
    )
    return Result(
        "mmvp_vlm",
        mmvp.name,
        "image_text_pairs",
        **scored,
        outcomes=outcomes_of(items.ids, types, answers.correct),
        extra={"ties": float(answers.ties.mean())},
        answers=_question_rows(mmvp, answers),
        rules=dict.fromkeys(scored["scores"], "image_score"),
        chance=dict.fromkeys(scored["scores"], _CHANCE),
    )


def _align(
    mmvp: MMVPSet, images: np.ndarray, texts: np.ndarray, options: EvaluationOptions
) -> Result:
    """Of each image and its own statement; the two of a pair are resampled together."""
    owner = np.arange(len(images))

    def alignment(counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return the alignment, pairs drawn ``counts`` (..., P) times.

        Both images of a pair are drawn with it.
        """
        return alignment_scores(images, texts, owner, np.repeat(counts, 2, axis=-1))

    scored = score(alignment, Items(_UNIT, _names(mmvp)), options.bootstrap)
    return Result("mmvp_alignment", mmvp.name, "text_alignment", **scored)


def _names(mmvp: MMVPSet) -> list[str]:
    return [f"{pair.ids[0]}-{pair.ids[1]}" for pair in mmvp.pairs]


def _question_rows(mmvp: MMVPSet, answers: PairAnswers) -> list[dict[str, Any]]:
    def choice(probability: np.float32) -> str:
        """Return which image a statement chose, by the ``probability`` of the first."""
        return "tie" if probability == 0.5 else "img1" if probability > 0.5 else "img2"

    return [
        {
            "qid1": pair.ids[0],
            "qid2": pair.ids[1],
            "pred1": choice(first),
            "pred2": choice(second),
            "gt1": "img1",
            "gt2": "img2",
            "q1score": first,
            "q2score": second,
        }
        for pair, (first, second) in zip(mmvp.pairs, answers.probabilities, strict=True)
    ]
