"""One encoder on one set: what is computed depends on the kind of the set."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import chain
from typing import Any

from dcr.data.benchmark_sets import (
    OVERRIDES,
    BenchmarkSet,
    CaptionSelectionSet,
    ClassificationSet,
    MiebSet,
    MMVPSet,
    RetrievalSet,
    SegmentationSet,
    with_overrides,
)
from dcr.evaluation.caption_selection import evaluate_caption_selection
from dcr.evaluation.classification import evaluate_class_images, evaluate_zero_shot
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.labelled import embed_split
from dcr.evaluation.mieb import evaluate_mieb
from dcr.evaluation.mmvp_vlm import evaluate_mmvp
from dcr.evaluation.results import EvaluationOptions, Result
from dcr.evaluation.retrieval import evaluate_retrieval
from dcr.evaluation.segmentation import evaluate_segmentation
from dcr.fingerprints import code_hash, fingerprint

_SPEED = {"batch_size", "num_workers"}  # options that no score depends on
_OF_CLASSES = {"kmeans_seeds", "kmeans_num_init", "kmeans_batch_size", "num_neighbours"}
_OF_PROBES = {"probe_inverse_regularization", "probe_max_iterations"}
_OF_RETRIEVAL = {"recall_at"}
_OF_SEGMENTATION = {
    "num_segmentation_patches",
    "num_segmentation_neighbours",
    "segmentation_temperature",
}
_OF_COMPARISON = {"num_compared_images", "num_compared_neighbours"}


def evaluate_set(
    embedder: Embedder,
    benchmark_set: BenchmarkSet,
    options: EvaluationOptions,
    reference: Embedder | None = None,
) -> list[Result]:
    """Evaluate one encoder on one set; results that the embedder's cache holds are not recomputed.

    A set with overrides is scored as it was published, and once more as they change it; the
    benchmarks of the latter end in ``/overrides``.

    Args:
        embedder: the encoder.
        benchmark_set: the set; its kind decides what is computed.
        options: how scores are computed.
        reference: the encoder that features are compared with, if the options ask for it.
    """
    if not benchmark_set.overrides.entries:
        return _evaluate(embedder, benchmark_set, options, reference)
    with embedder.remembering():
        return [
            *_evaluate(embedder, benchmark_set, options, reference),
            *_evaluate_overridden(embedder, benchmark_set, options),
        ]


def _evaluate_overridden(
    embedder: Embedder, benchmark_set: BenchmarkSet, options: EvaluationOptions
) -> list[Result]:
    """Return the results on the set as its overrides change it, each under a name that says so.

    What is told of features themselves does not depend on labels, and is not told again.
    """
    options = replace(options, compare_features=False)
    return [
        replace(
            result,
            benchmark=f"{result.benchmark}/{OVERRIDES}",
            notes=[*result.notes, benchmark_set.overrides.tell()],
        )
        for result in _evaluate(embedder, with_overrides(benchmark_set), options, None)
    ]


def _evaluate(
    embedder: Embedder,
    benchmark_set: BenchmarkSet,
    options: EvaluationOptions,
    reference: Embedder | None,
) -> list[Result]:
    def compute() -> list[Result]:
        if isinstance(benchmark_set, MMVPSet):
            return list(evaluate_mmvp(embedder, benchmark_set, options, reference))
        if isinstance(benchmark_set, RetrievalSet):
            return list(evaluate_retrieval(embedder, benchmark_set, options, reference))
        if isinstance(benchmark_set, CaptionSelectionSet):
            return list(evaluate_caption_selection(embedder, benchmark_set, options, reference))
        if isinstance(benchmark_set, SegmentationSet):
            return list(evaluate_segmentation(embedder, benchmark_set, options))
        if isinstance(benchmark_set, MiebSet):
            return list(evaluate_mieb(embedder, benchmark_set, options))
        return _evaluate_classification(embedder, benchmark_set, options, reference)

    if embedder.cache is None:
        return compute()
    key = _key(embedder.fingerprint.whole, benchmark_set, options, reference)
    return embedder.cache.results(key, compute)


def _evaluate_classification(
    embedder: Embedder,
    dataset: ClassificationSet,
    options: EvaluationOptions,
    reference: Embedder | None,
) -> list[Result]:
    """Evaluate a classification set.

    Clusters and probes see images alone: in the cache, encoders that differ in their text side
    alone share them.
    """
    test = embed_split(embedder, dataset, "test")

    def compute() -> list[Result]:
        return list(evaluate_class_images(embedder, dataset, test, options, reference))

    if embedder.cache is None:
        of_images = compute()
    else:
        key = fingerprint(
            images_alone=_key(embedder.fingerprint.images, dataset, options, reference)
        )
        of_images = embedder.cache.results(key, compute)
    return [of_images[0], evaluate_zero_shot(embedder, dataset, test, options), *of_images[1:]]


def _key(
    encoder: str,
    benchmark_set: BenchmarkSet,
    options: EvaluationOptions,
    reference: Embedder | None,
) -> str:
    compares = options.compare_features and not isinstance(benchmark_set, SegmentationSet | MiebSet)
    return fingerprint(
        code=code_hash(__name__, *_readers(benchmark_set)),
        encoder=encoder,
        reference=reference.fingerprint.whole if reference and compares else None,
        set=[benchmark_set.name, benchmark_set.fingerprint],
        overrides=benchmark_set.overrides.words if benchmark_set.is_overridden else None,
        options=_relevant(options, benchmark_set),
    )


def _readers(benchmark_set: BenchmarkSet) -> list[type]:
    """Return the classes that read the set's samples."""
    if isinstance(benchmark_set, MMVPSet):
        return [type(benchmark_set)]
    parts = chain.from_iterable(benchmark_set.splits.values())
    return [type(benchmark_set), *sorted({type(part) for part in parts}, key=str)]


def _relevant(options: EvaluationOptions, benchmark_set: BenchmarkSet) -> dict[str, Any]:
    """Return the options that the results on a set depend on: k-means' seeds change no recall."""
    unused = set(_SPEED)
    if not isinstance(benchmark_set, ClassificationSet):
        unused |= _OF_CLASSES
    if not isinstance(benchmark_set, ClassificationSet | SegmentationSet):
        unused |= _OF_PROBES
    if not isinstance(benchmark_set, RetrievalSet):
        unused |= _OF_RETRIEVAL
    if not isinstance(benchmark_set, SegmentationSet):
        unused |= _OF_SEGMENTATION
    if isinstance(benchmark_set, SegmentationSet | MiebSet):
        unused |= _OF_COMPARISON | {"compare_features"}
    if not options.compare_features:
        unused |= _OF_COMPARISON
    return {name: value for name, value in asdict(options).items() if name not in unused}
