"""Nodes of pipeline `ledger`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.parameters import (
    AlignmentParameters,
    EvaluationParameters,
    LedgerParameters,
    TrainingParameters,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dcr.data.benchmark_sets import BenchmarkSet
    from dcr.ledger.evidence import Part
    from dcr.models.backbones import Backbone
    from dcr.published.tables import PublishedTables

SetOpener = Callable[[], "BenchmarkSet"]


def gather_own(
    parameters: LedgerParameters,
    evaluation: EvaluationParameters,
    training: TrainingParameters,
    alignment: AlignmentParameters,
    alignment_record: dict[str, Any],
    **files: Any,
) -> Part:
    """Read what the recipe's own evaluation measured, if the ledger names encoders of it.

    Args:
        parameters, evaluation, training, alignment: the recipe's sections.
        alignment_record: `alignment.json`, {} where there is none.
        files: what training and evaluation left, see `dcr.ledger.gathering.Files`; each None where
            there is none.

    Raises:
        UserError: the files are not of one training and its evaluation, or of other parameters.
    """
    from dcr.ledger.evidence import Part
    from dcr.ledger.gathering import Files, read_own

    if not any(parameters.own.values()):
        return Part()
    own = None if any(file is None for file in files.values()) else Files(**files)
    return read_own(own, alignment_record, evaluation, training, alignment)


def evaluate_published(
    evaluation: EvaluationParameters,
    published_tables: PublishedTables,
    more_encoders: dict[str, Callable[[], Backbone]],
    mmvp_vlm: SetOpener | None,
    classification: SetOpener | None,
    retrieval: SetOpener | None,
    more_sets: dict[str, tuple[str, SetOpener]],
    cache: Path,
) -> tuple[Part, list[dict[str, str]]]:
    """Evaluate those of the recipe's further encoders that published tables name.

    Args:
        evaluation: how scores are computed, and on which sets.
        published_tables: what papers state.
        more_encoders: what loads each encoder, by name.
        mmvp_vlm, classification, retrieval: what opens each of the recipe's own sets, None where it
            has none.
        more_sets: kind and opener of further sets, by name.
        cache: folder of embeddings and results.

    Returns:
        what was measured, and what could not be evaluated.
    """
    from dataclasses import asdict

    from dcr.data.benchmark_sets import choose_sets
    from dcr.evaluation import EvaluationCache, EvaluationOptions
    from dcr.ledger.gathering import measure_published

    own = {"mmvp_vlm": mmvp_vlm, "classification": classification, "retrieval": retrieval}
    part, failures = measure_published(
        {name: load for name, load in more_encoders.items() if name in published_tables.encoders},
        choose_sets(evaluation.sets, own, more_sets),
        EvaluationOptions.of(evaluation),
        EvaluationCache(cache),
    )
    return part, [asdict(failure) for failure in failures]


def judge_published(
    parameters: LedgerParameters,
    evaluation: EvaluationParameters,
    published_tables: PublishedTables,
    own_evidence: Part,
    published_evidence: Part,
) -> dict[str, Any]:
    """Say of every published number whether it is reproduced.

    Args:
        parameters: names what stands for the tables' encoders.
        evaluation: how items were resampled.
        published_tables: what papers state.
        own_evidence, published_evidence: what was measured of the recipe's own encoders, and of
            published ones.

    Raises:
        UserError: the parameters name an encoder that is not there.
    """
    from dcr.evaluation import EvaluationOptions
    from dcr.ledger.claims import list_claims
    from dcr.ledger.evidence import combine
    from dcr.ledger.gathering import name_encoders
    from dcr.ledger.judging import judge_claims, ledger_record

    measured = list(published_evidence.measurements)
    names = name_encoders(parameters.own, measured, published_tables, own_evidence)
    bootstrap = EvaluationOptions.of(evaluation).bootstrap
    evidence = combine([own_evidence, published_evidence], names, bootstrap)
    return ledger_record(
        judge_claims(list_claims(published_tables), evidence), bootstrap.confidence
    )


def write_ledger_page(recipe: str, ledger: dict[str, Any]) -> str:
    """Put the ledger on a page.

    Args:
        recipe: its name.
        ledger: from `judge_published`.
    """
    from dcr.ledger.page import render_ledger

    return render_ledger(recipe, ledger)


def tell_failures(failures: list[dict[str, str]], *_written: Any) -> None:
    """End the run with an error if anything could not be evaluated.

    What was written comes in, so that it is written before.

    Args:
        failures: ``set``, ``encoder`` and ``error`` of each.
    """
    from dcr.evaluation import Failure, describe_failures

    if failures:
        raise UserError(describe_failures([Failure(**failure) for failure in failures]))
