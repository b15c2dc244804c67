"""What text and image still have in common: retrieval and alignment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from dcr.benchmark_sets import RetrievalSet, Sample
from dcr.evaluation.embedding import embed_images, embed_texts, images_of
from dcr.evaluation.results import EvaluationOptions, Result, outcomes_of, score
from dcr.metrics.retrieval import alignment_scores, rank_matches, retrieval_scores

if TYPE_CHECKING:
    from dcr.backbones import Backbone


def evaluate_retrieval(backbone: Backbone, dataset: RetrievalSet, options: EvaluationOptions) -> Iterator[Result]:
    """Recall at K both ways, and how far paired images and texts lie apart."""
    kept: list[Sample] = []
    images = embed_images(
        backbone, images_of(dataset.samples("test"), kept), options.batch_size, f"{dataset.name} images"
    )
    keys, captions = [sample.key for sample in kept], [text for sample in kept for text in sample.captions]
    owner = np.repeat(np.arange(len(kept)), [len(sample.captions) for sample in kept])
    texts = embed_texts(backbone, captions, options.batch_size, f"{dataset.name} captions")
    images_index = np.arange(len(kept))
    image_ranks = rank_matches(texts, images, owner, images_index)
    text_ranks = rank_matches(images, texts, images_index, owner)

    def recalls(counts: np.ndarray) -> dict[str, np.ndarray]:
        return retrieval_scores(image_ranks, text_ranks, owner, options.recall_at, counts)

    outcomes = outcomes_of(keys, ["text_retrieval_recall@1"] * len(keys), text_ranks < 1)
    hits = np.bincount(owner, weights=image_ranks < 1) / np.bincount(owner)
    outcomes += outcomes_of(keys, ["image_retrieval_recall@1"] * len(keys), hits)
    yield Result(
        "retrieval",
        dataset.name,
        "zeroshot_retrieval",
        *score(recalls, len(kept), options.bootstrap),
        outcomes,
    )
    yield Result(
        "text_alignment",
        dataset.name,
        "text_alignment",
        *score(lambda counts: alignment_scores(images, texts, owner, counts), len(kept), options.bootstrap),
    )
