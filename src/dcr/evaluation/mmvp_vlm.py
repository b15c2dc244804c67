"""P-Ability: MMVP-VLM."""

from __future__ import annotations

import logging

import numpy as np

from dcr.benchmark_sets import MMVPSet
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.results import EvaluationOptions, Result, outcomes_of, score
from dcr.metrics.mmvp import PairAnswers, answer_pairs, mmvp_scores

logger = logging.getLogger(__name__)


def evaluate_mmvp(embedder: Embedder, mmvp: MMVPSet, options: EvaluationOptions) -> Result:
    """MMVP-VLM per type and mean; pairs are resampled within their type."""
    texts = [text for pair in mmvp.pairs for text in pair.texts]
    images = embedder.images(mmvp, f"{mmvp.name} images")
    texts = embedder.texts(texts, f"{mmvp.name} texts")
    shape = (len(mmvp.pairs), 2, -1)
    answers = answer_pairs(images.reshape(shape), texts.reshape(shape), embedder.backbone.logit_scale)
    if answers.ties.any():
        logger.warning("%s: %d pairs are ties, counted as wrong", mmvp.name, answers.ties.sum())
    types = [pair.type for pair in mmvp.pairs]
    items = [f"{pair.ids[0]}-{pair.ids[1]}" for pair in mmvp.pairs]
    return Result(
        "mmvp_vlm",
        mmvp.name,
        "image_text_pairs",
        *score(lambda counts: mmvp_scores(answers.correct, types, counts), len(items), options.bootstrap, types),
        outcomes=outcomes_of(items, types, answers.correct),
        extra={"ties": float(answers.ties.mean())},
        answers=_question_rows(mmvp, answers),
    )


def _question_rows(mmvp: MMVPSet, answers: PairAnswers) -> list[dict]:
    def choice(probability: np.float32) -> str:
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
