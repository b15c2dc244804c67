"""Any number of encoders on any number of sets: what cannot be evaluated is told, and the rest
goes on.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dcr.data.benchmark_sets import BenchmarkSet, ClassificationSet, MMVPSet, NamedSet, RetrievalSet
from dcr.errors import UserError
from dcr.evaluation.cache import EvaluationCache
from dcr.evaluation.classification import evaluate_class_images, evaluate_zero_shot
from dcr.evaluation.embedding import Embedder, embed_split
from dcr.evaluation.memory import Memory
from dcr.evaluation.mmvp_vlm import evaluate_mmvp
from dcr.evaluation.results import EvaluationOptions, Result
from dcr.evaluation.retrieval import evaluate_retrieval
from dcr.evaluation.several_sets import average_sets
from dcr.fingerprints import code_hash, fingerprint
from dcr.metrics.bootstrap import Bootstrap
from dcr.progress import show_progress

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone

logger = logging.getLogger(__name__)

_SPEED = {"batch_size", "num_workers"}  # options that no score depends on
_OF_CLASSES = {"kmeans_seeds", "kmeans_num_init", "kmeans_batch_size", "num_neighbours"}
_OF_PROBES = {"probe_inverse_regularization", "probe_max_iterations"}
_OF_RETRIEVAL = {"recall_at"}
_OF_COMPARISON = {"num_compared_images", "num_compared_neighbours"}


@dataclass(frozen=True)
class Failure:
    """What could not be evaluated, and why.

    ``encoder`` is None where the set itself cannot be opened, ``set`` is None where the encoder
    cannot be loaded.
    """

    set: str | None
    encoder: str | None
    error: str


def evaluate_encoder(
    backbone: Backbone,
    sets: Sequence[BenchmarkSet],
    options: EvaluationOptions,
    description: str = "encoder",
) -> list[Result]:
    """Evaluate one encoder on every set, without a cache.

    Args:
        backbone: the encoder.
        sets: opened ones.
        options: how scores are computed; features are compared with no other encoder.
        description: names the encoder in the progress bar.

    Raises:
        UserError: a set is broken; those after it are not evaluated.
    """
    embedder = Embedder(backbone, options.batch_size, options.num_workers)
    progress = show_progress(sets, desc=f"evaluate {description}", unit="set")
    return [
        result
        for benchmark_set in progress
        for result in evaluate_set(embedder, benchmark_set, options)
    ]


def evaluate_set(
    embedder: Embedder,
    benchmark_set: BenchmarkSet,
    options: EvaluationOptions,
    reference: Embedder | None = None,
) -> list[Result]:
    """Evaluate one encoder on one set; results that the embedder's cache holds are not computed
    again.

    Args:
        embedder: the encoder.
        benchmark_set: the set; its kind decides what is computed.
        options: how scores are computed.
        reference: the encoder that features are compared with, if the options ask for it.
    """

    def compute() -> list[Result]:
        if isinstance(benchmark_set, MMVPSet):
            return list(evaluate_mmvp(embedder, benchmark_set, options, reference))
        if isinstance(benchmark_set, RetrievalSet):
            return list(evaluate_retrieval(embedder, benchmark_set, options, reference))
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
    """Clusters and probes see images alone: in the cache, encoders that differ in their text
    side alone share them.
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
    return fingerprint(
        code=code_hash(__name__),
        encoder=encoder,
        reference=reference.fingerprint.whole if reference and options.compare_features else None,
        set=[benchmark_set.name, benchmark_set.fingerprint],
        options=_relevant(options, benchmark_set),
    )


def _relevant(options: EvaluationOptions, benchmark_set: BenchmarkSet) -> dict[str, Any]:
    """Return the options that the results on a set depend on: k-means' seeds change no recall."""
    unused = set(_SPEED)
    if not isinstance(benchmark_set, ClassificationSet):
        unused |= _OF_CLASSES | _OF_PROBES
    if not isinstance(benchmark_set, RetrievalSet):
        unused |= _OF_RETRIEVAL
    if not options.compare_features:
        unused |= _OF_COMPARISON
    return {name: value for name, value in asdict(options).items() if name not in unused}


def evaluate_encoders(
    encoders: Mapping[str, Callable[[], Backbone]],
    sets: Sequence[NamedSet],
    options: EvaluationOptions,
    cache: EvaluationCache | None = None,
) -> tuple[dict[str, list[Result]], list[Failure]]:
    """Evaluate every encoder on every set; features are compared with those of the first encoder.

    Beside the encoder at work only the first one stays in memory, and of the sets what `Memory`
    keeps.

    Where there are several sets of a kind, a result's benchmark is ``<benchmark>/<set>``, and
    ``<benchmark>`` is the mean over the sets, given only if none of them failed.

    Args:
        encoders: what loads each, by its name.
        sets: of the recipe, in the order of the results.
        options: how scores are computed.
        cache: where embeddings and results are kept; None keeps none.

    Returns:
        results by encoder, and what failed: sets and samples that are broken, encoders that do not
        load or give NaN.
    """
    if not sets:
        logger.warning(
            "the recipe has no evaluation set: nothing is scored (see `sets` in"
            " parameters_evaluation.yml)"
        )
        return {encoder: [] for encoder in encoders}, []
    opened, failures = open_sets(sets)
    evaluations = {}
    reference = None
    memory = Memory() if len(encoders) > 1 else None
    for encoder, load in encoders.items():
        try:
            embedder = Embedder(load(), options.batch_size, options.num_workers, cache, memory)
        except UserError as error:
            failures.append(_fail(None, encoder, error))
            continue
        found: dict[str, list[Result]] = {}
        for name, benchmark_set in show_progress(
            opened.items(), desc=f"evaluate {encoder}", unit="set"
        ):
            try:
                found[name] = evaluate_set(embedder, benchmark_set, options, reference)
            except UserError as error:
                failures.append(_fail(name, encoder, error))
        evaluations[encoder] = _name_by_set(found, sets, options.bootstrap)
        reference = reference or embedder
    return evaluations, failures


def open_sets(sets: Sequence[NamedSet]) -> tuple[dict[str, BenchmarkSet], list[Failure]]:
    """Open every one of ``sets``; return those that can be opened, by name, and why the others
    cannot.
    """
    opened = {}
    failures = []
    for entry in sets:
        try:
            opened[entry.name] = entry.open()
        except UserError as error:
            failures.append(_fail(entry.name, None, error))
    return opened, failures


def _fail(name: str | None, encoder: str | None, error: UserError) -> Failure:
    what = [f"set {name}"] * bool(name) + [f"encoder {encoder}"] * bool(encoder)
    logger.error("%s is left out: %s", " with ".join(what), error)
    return Failure(name, encoder, str(error))


def _name_by_set(
    found: Mapping[str, list[Result]], sets: Sequence[NamedSet], bootstrap: Bootstrap
) -> list[Result]:
    """Return all results in the order of the sets, told apart where there are several sets of a
    kind.
    """
    number = Counter(entry.kind for entry in sets)
    named: list[Result] = []
    for kind in number:
        names = [entry.name for entry in sets if entry.kind == kind]
        if number[kind] == 1:
            named += found.get(names[0], [])
            continue
        if all(name in found for name in names):
            named += average_sets({name: found[name] for name in names}, bootstrap)
        named += [
            replace(result, benchmark=f"{result.benchmark}/{name}")
            for name in names
            for result in found.get(name, [])
        ]
    return named


def describe_failures(failures: Sequence[Failure]) -> str:
    """Say in one sentence which sets and encoders could not be evaluated and why; ``failures``
    holds one at least.
    """
    reasons: dict[str, list[str]] = {}
    for failure in failures:
        reasons.setdefault(failure.error, []).append(failure.set or f"encoder {failure.encoder}")
    told = "; ".join(
        f"{', '.join(dict.fromkeys(names))}: {error}" for error, names in reasons.items()
    )
    return f"not evaluated: {told} (the scores of all others are written)"
