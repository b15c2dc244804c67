"""What text and image still have in common: retrieval and alignment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dcr.benchmark_sets import RetrievalSet
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.features import measure_drift
from dcr.evaluation.results import EvaluationOptions, Result, outcomes_of, score
from dcr.metrics.geometry import alignment_of_pairs
from dcr.metrics.retrieval import alignment_scores, rank_matches, retrieval_scores


def evaluate_retrieval(
    embedder: Embedder, dataset: RetrievalSet, options: EvaluationOptions, reference: Embedder | None = None
) -> Iterator[Result]:
    """Recall at K both ways, and how far paired images and texts lie apart.

    With ``options.compare_features`` also the drift of the images' features from ``reference``'s.
    """
    images = embedder.split(dataset.splits["test"], f"{dataset.name} images")
    captions_of = {sample.key: sample.captions for sample in dataset.samples("test")}
    keys, captions = list(captions_of), [text for texts in captions_of.values() for text in texts]
    owner = np.repeat(np.arange(len(keys)), [len(texts) for texts in captions_of.values()])
    texts = embedder.texts(captions, f"{dataset.name} captions")
    images_index = np.arange(len(keys))
    image_ranks = rank_matches(texts, images, owner, images_index)
    text_ranks = rank_matches(images, texts, images_index, owner)

    def recalls(counts: np.ndarray) -> dict[str, np.ndarray]:
        return retrieval_scores(image_ranks, text_ranks, owner, options.recall_at, counts)

    def alignment(counts: np.ndarray) -> dict[str, np.ndarray]:
        scores = alignment_scores(images, texts, owner, counts)
        if options.compare_features:
            scores |= alignment_of_pairs(images, texts, owner, counts)
        return scores

    outcomes = outcomes_of(keys, ["text_retrieval_recall@1"] * len(keys), text_ranks < 1)
    hits = np.bincount(owner, weights=image_ranks < 1) / np.bincount(owner)
    outcomes += outcomes_of(keys, ["image_retrieval_recall@1"] * len(keys), hits)
    yield Result(
        "retrieval",
        dataset.name,
        "zeroshot_retrieval",
        *score(recalls, len(keys), options.bootstrap),
        outcomes,
    )
    yield Result(
        "text_alignment",
        dataset.name,
        "text_alignment",
        *score(alignment, len(keys), options.bootstrap),
    )
    if options.compare_features and reference is not None:
        before = reference.split(dataset.splits["test"], f"{dataset.name} images")
        yield measure_drift("retrieval_drift", dataset.name, before, images, options)
