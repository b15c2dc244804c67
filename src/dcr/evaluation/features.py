"""What changed in the features themselves, whatever is asked of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dcr.benchmark_sets import ClassificationSet
from dcr.evaluation.embedding import Embedder, LabelledFeatures
from dcr.evaluation.results import EvaluationOptions, Result, score
from dcr.metrics.drift import drift_scores, neighbour_overlap
from dcr.metrics.geometry import similarity_scores, uniformity_scores


def evaluate_features(
    dataset: ClassificationSet, test: LabelledFeatures, options: EvaluationOptions, reference: Embedder | None
) -> Iterator[Result]:
    """How the test images' features lie, and with a ``reference`` encoder, how far they are from its features."""
    chosen = choose_items(len(test.keys), options)
    embeddings, labels = test.embeddings[chosen], test.labels[chosen]

    def geometry(counts: np.ndarray) -> dict[str, np.ndarray]:
        return similarity_scores(embeddings, labels, counts) | uniformity_scores(embeddings, counts)

    scores = score(geometry, len(chosen), options.bootstrap)
    yield Result("feature_geometry", dataset.name, "feature_geometry", *scores)
    if reference is None:
        return
    before = reference.split(dataset.splits["test"], f"{dataset.name} test")[chosen]
    number = min(options.num_compared_neighbours, len(chosen) - 1)
    overlap = neighbour_overlap(before, embeddings, number)

    def drift(counts: np.ndarray) -> dict[str, np.ndarray]:
        return drift_scores(before, embeddings, overlap, number, counts)

    yield Result("feature_drift", dataset.name, "feature_drift", *score(drift, len(chosen), options.bootstrap))


def choose_items(num_items: int, options: EvaluationOptions) -> np.ndarray:
    """Return the rows of the items whose features are compared: all, or as many as the options allow, by chance."""
    if num_items <= options.num_compared_images:
        return np.arange(num_items)
    generator = np.random.default_rng(options.bootstrap.seed)
    return np.sort(generator.choice(num_items, options.num_compared_images, replace=False))
