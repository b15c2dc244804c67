"""Any number of encoders on any number of sets.

What cannot be evaluated is told, and the rest goes on.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dcr.data.benchmark_sets import BenchmarkSet, NamedSet
from dcr.errors import UserError
from dcr.evaluation.cache import EvaluationCache
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.failures import Failure, fail, open_sets
from dcr.evaluation.memory import Memory
from dcr.evaluation.one_set import evaluate_set
from dcr.evaluation.results import EvaluationOptions, Result
from dcr.evaluation.several_sets import average_sets
from dcr.metrics.bootstrap import Bootstrap
from dcr.progress import show_progress

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone

logger = logging.getLogger(__name__)


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
            failures.append(fail(None, encoder, error))
            continue
        found: dict[str, list[Result]] = {}
        for name, benchmark_set in show_progress(
            opened.items(), desc=f"evaluate {encoder}", unit="set"
        ):
            try:
                found[name] = evaluate_set(embedder, benchmark_set, options, reference)
            except UserError as error:
                failures.append(fail(name, encoder, error))
        evaluations[encoder] = _name_by_set(found, sets, options.bootstrap)
        reference = reference or embedder
    return evaluations, failures


def _name_by_set(
    found: Mapping[str, list[Result]], sets: Sequence[NamedSet], bootstrap: Bootstrap
) -> list[Result]:
    """Return all results in the order of the sets.

    They are told apart where there are several sets of a kind.
    """
    number = Counter(entry.kind for entry in sets)
    named: list[Result] = []
    for kind in number:
        names = [entry.name for entry in sets if entry.kind == kind]
        if number[kind] == 1:
            named += found.get(names[0], [])
            continue
        if all(name in found for name in names):
            published = {
                name: [result for result in found[name] if "/" not in result.benchmark]
                for name in names
            }
            named += average_sets(published, bootstrap)
        named += [
            replace(result, benchmark=_name(result.benchmark, name))
            for name in names
            for result in found.get(name, [])
        ]
    return named


def _name(benchmark: str, name: str) -> str:
    """Return ``<benchmark>/<set>``, with ``+overrides`` behind it where these were applied."""
    family, _, variant = benchmark.partition("/")
    return f"{family}/{name}+{variant}" if variant else f"{family}/{name}"
