"""What changed in the features themselves, whatever is asked of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dcr.data.benchmark_sets import ClassificationSet
from dcr.errors import UserError
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.labelled import LabelledFeatures
from dcr.evaluation.results import EvaluationOptions, Items, Result, score
from dcr.metrics.drift import drift_scores, neighbour_overlap
from dcr.metrics.geometry import similarity_scores, uniformity_scores


def evaluate_features(
    dataset: ClassificationSet,
    test: LabelledFeatures,
    options: EvaluationOptions,
    reference: Embedder | None,
) -> Iterator[Result]:
    """Yield how test features lie, and how far they are from a ``reference`` encoder's.

    Args:
        dataset: the set, of which ``test`` is the test split.
        test: its features.
        options: how many images are compared, with how many neighbours.
        reference: the encoder to compare with; None leaves the comparison out.
    """
    chosen = choose_items(len(test.keys), options)
    embeddings = test.embeddings[chosen]
    labels = test.labels[chosen]

    def geometry(counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return likeness and uniformity, chosen images drawn ``counts`` (..., N) times."""
        return similarity_scores(embeddings, labels, counts) | uniformity_scores(embeddings, counts)

    scored = score(geometry, Items("image", [test.keys[row] for row in chosen]), options.bootstrap)
    yield Result("feature_geometry", dataset.name, "feature_geometry", **scored)
    if reference is not None:
        before = reference.split(dataset.splits["test"], f"{dataset.name} test")
        items = Items("image", test.keys)
        yield measure_drift("feature_drift", dataset.name, before, test.embeddings, items, options)


def measure_drift(
    benchmark: str,
    dataset: str,
    before: np.ndarray,
    after: np.ndarray,
    items: Items,
    options: EvaluationOptions,
) -> Result:
    """How far an encoder's features are from another's on the same images.

    Args:
        benchmark, dataset: names of the result and of the set.
        before, after: (N, d) and (N, e).
        items: what is resampled; where there are fewer than N, as many images in a row as make one
            of them, 2 for the pairs of MMVP-VLM.
        options: how many items are compared, with how many neighbours.

    Raises:
        UserError: there is one image only.
    """
    if len(after) < 2:
        raise UserError(
            f"{dataset} has one image, but features are compared on 2 or more; set compare_features"
            " to false"
        )
    images_per_item = len(after) // len(items.ids)
    chosen = choose_items(len(items.ids), options)
    rows = (chosen[:, None] * images_per_item + np.arange(images_per_item)).ravel()
    before = before[rows]
    after = after[rows]
    number = min(options.num_compared_neighbours, len(rows) - 1)
    overlap = neighbour_overlap(before, after, number)

    def drift(counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return the drift, chosen items drawn ``counts`` times, and each item's images with it."""
        return drift_scores(
            before, after, overlap, number, np.repeat(counts, images_per_item, axis=-1)
        )

    compared = Items(items.unit, [items.ids[row] for row in chosen])
    return Result(benchmark, dataset, "feature_drift", **score(drift, compared, options.bootstrap))


def choose_items(num_items: int, options: EvaluationOptions) -> np.ndarray:
    """Return the rows of the items whose features are compared, sorted, of ``num_items`` in all.

    All of them, or ``options.num_compared_images``, drawn by the bootstrap's seed.
    """
    if num_items <= options.num_compared_images:
        return np.arange(num_items)
    generator = np.random.default_rng(options.bootstrap.seed)
    return np.sort(generator.choice(num_items, options.num_compared_images, replace=False))
