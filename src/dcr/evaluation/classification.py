"""D-Ability by clusters, P-Ability by attribute probes, classes by text, line and neighbours."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from dcr.data.benchmark_sets import ClassificationSet
from dcr.errors import UserError
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.features import evaluate_features
from dcr.evaluation.labelled import LabelledFeatures, embed_split
from dcr.evaluation.long_texts import count_cut
from dcr.evaluation.results import EvaluationOptions, Items, Result, outcomes_of, score
from dcr.metrics.clustering import cluster, clustering_statistics, match_clusters
from dcr.metrics.probes import predict_linear, predict_neighbours, probe_scores
from dcr.metrics.separation import between_class_share
from dcr.metrics.zero_shot import build_classifier, rank_labels, zero_shot_scores
from dcr.progress import show_progress

logger = logging.getLogger(__name__)

CLASS_ATTRIBUTE = "class"  # the label itself, which the linear probe of the class reads


def evaluate_class_images(
    embedder: Embedder,
    dataset: ClassificationSet,
    test: LabelledFeatures,
    options: EvaluationOptions,
    reference: Embedder | None = None,
) -> Iterator[Result]:
    """Evaluate clustering of the test split, then, with a train split, linear and neighbour probes.

    All of it goes without a text. With ``options.compare_features`` also the geometry of the test
    features, and their drift from ``reference``'s.

    Args:
        embedder: the encoder.
        dataset: the set, of which ``test`` is the test split.
        test: its features.
        options: see `EvaluationOptions`.
        reference: the encoder that features are compared with, if the options ask for it.
    """
    yield _evaluate_clustering(dataset, test, options)
    if options.compare_features:
        yield from evaluate_features(dataset, test, options, reference)
    if not dataset.has_split("train"):
        logger.info("%s has no train split: probes are left out", dataset.name)
        return
    train = embed_split(embedder, dataset, "train")
    if _has_two_values("the class", train.labels):
        yield _evaluate_class_probes(dataset, train, test, options)
    names = [name for name, values in train.attributes.items() if _can_probe(name, values, test)]
    if names:
        yield _evaluate_attribute_probes(dataset, train, test, names, options)


def _can_probe(name: str, values: np.ndarray, test: LabelledFeatures) -> bool:
    if name == CLASS_ATTRIBUTE or name not in test.attributes:
        return False
    return _has_two_values(f"attribute {name}", values)


def _has_two_values(what: str, values: np.ndarray) -> bool:
    if len(np.unique(values)) < 2:
        logger.warning("%s has one value only in the train split: it is not probed", what)
        return False
    return True


def _evaluate_clustering(
    dataset: ClassificationSet, test: LabelledFeatures, options: EvaluationOptions
) -> Result:
    num_classes = len(dataset.class_names)
    if not 2 <= num_classes <= len(test.keys):
        raise UserError(
            f"{dataset.folder} cannot be clustered: it needs 2 classes or more and as many test"
            f" images, got {num_classes} classes and {len(test.keys)} images"
        )
    clusterings = [
        cluster(
            test.embeddings, num_classes, seed, options.kmeans_num_init, options.kmeans_batch_size
        )
        for seed in show_progress(
            options.kmeans_seeds, desc=f"{dataset.name} k-means", unit="seed", leave=False
        )
    ]

    by_clustering = [clustering_statistics(test.labels, clusters) for clusters in clusterings]

    def statistics(counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return the means over k-means' seeds, images drawn ``counts`` (..., N) times."""
        by_seed = [scores(counts) for scores in by_clustering]
        means = {name: np.mean([scores[name] for scores in by_seed], axis=0) for name in by_seed[0]}
        return {
            **means,
            "between_class_share": between_class_share(test.embeddings, test.labels, counts),
        }

    correct = np.mean([match_clusters(test.labels, clusters) for clusters in clusterings], axis=0)
    groups = [dataset.class_names[label] for label in test.labels]
    scored = score(statistics, Items("image", test.keys), options.bootstrap)
    outcomes = outcomes_of(test.keys, groups, correct)
    return Result("clustering", dataset.name, "clustering", **scored, outcomes=outcomes)


def evaluate_zero_shot(
    embedder: Embedder,
    dataset: ClassificationSet,
    test: LabelledFeatures,
    options: EvaluationOptions,
) -> Result:
    """Each test image named by the class whose prompts it is nearest to.

    Args:
        embedder: the encoder, whose text tower embeds every class name in every template.
        dataset: the set, of which ``test`` is the test split.
        test: its features.
        options: of which resampling alone matters here.
    """
    prompts = [
        template.replace("{c}", name)
        for name in dataset.class_names
        for template in dataset.templates
    ]
    texts = embedder.texts(prompts, f"{dataset.name} prompts")
    cut = count_cut(embedder.backbone, prompts, "prompts")
    classifier = build_classifier(
        texts.reshape(len(dataset.class_names), len(dataset.templates), -1)
    )
    ranks = rank_labels(test.embeddings, classifier, test.labels)
    groups = [dataset.class_names[label] for label in test.labels]
    items = Items("image", test.keys)
    return Result(
        "zero_shot",
        dataset.name,
        "zeroshot_classification",
        **score(
            lambda counts: zero_shot_scores(ranks, test.labels, counts), items, options.bootstrap
        ),
        outcomes=outcomes_of(test.keys, groups, ranks < 1),
        notes=[*_describe_classes(dataset, test.labels), *cut.tell()],
    )


def _describe_classes(dataset: ClassificationSet, labels: np.ndarray) -> list[str]:
    there = set(labels.tolist())
    names = dataset.class_names
    absent = [name for label, name in enumerate(names) if label not in there]
    notes = []
    if absent:
        notes.append(
            f"no test image of {len(absent)} of {len(names)} classes: {', '.join(absent[:3])}"
        )
    if not dataset.has_split("train"):
        notes.append("no train split, so no probes")
    return notes


def _evaluate_class_probes(
    dataset: ClassificationSet,
    train: LabelledFeatures,
    test: LabelledFeatures,
    options: EvaluationOptions,
) -> Result:
    linear = _predict_linear(train, train.labels, test, options) == test.labels
    neighbours = min(options.num_neighbours, len(train.labels))
    nearest = (
        predict_neighbours(train.embeddings, train.labels, test.embeddings, neighbours)
        == test.labels
    )
    correct = {"lp_acc1": linear, "knn_acc1": nearest}
    groups = [dataset.class_names[label] for label in test.labels]

    def statistics(counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return both accuracies without their mean, images drawn ``counts`` (..., N) times."""
        scores = probe_scores(correct, counts)
        return {name: scores[name] for name in correct}

    scored = score(statistics, Items("image", test.keys), options.bootstrap)
    outcomes = outcomes_of(test.keys, groups, linear)
    return Result("linear_probe", dataset.name, "linear_probe", **scored, outcomes=outcomes)


def _evaluate_attribute_probes(
    dataset: ClassificationSet,
    train: LabelledFeatures,
    test: LabelledFeatures,
    names: Sequence[str],
    options: EvaluationOptions,
) -> Result:
    correct = {
        name: _predict_linear(train, train.attributes[name], test, options) == test.attributes[name]
        for name in show_progress(
            names, desc=f"{dataset.name} probes", unit="attribute", leave=False
        )
    }
    scored = score(
        lambda counts: probe_scores(correct, counts), Items("image", test.keys), options.bootstrap
    )
    outcomes = [
        row
        for name in names
        for row in outcomes_of(test.keys, [name] * len(test.keys), correct[name])
    ]
    return Result("probes", dataset.name, "attribute_probes", **scored, outcomes=outcomes)


def _predict_linear(
    train: LabelledFeatures, labels: np.ndarray, test: LabelledFeatures, options: EvaluationOptions
) -> np.ndarray:
    return predict_linear(
        train.embeddings,
        labels,
        test.embeddings,
        options.probe_inverse_regularization,
        options.probe_max_iterations,
    )
