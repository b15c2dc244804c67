"""Results of several encoders as the tables and records that others read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dcr.data.benchmark_sets import OVERRIDES, BenchmarkSet, NamedSet
from dcr.data.benchmark_sets.overrides import CORRECT, DROP
from dcr.evaluation.failures import open_sets
from dcr.evaluation.results import Result
from dcr.evaluation.several_sets import MEAN_OF_SETS

Evaluations = Mapping[str, Sequence[Result]]
"""Results by encoder, in the order of the tables' rows."""


def scores_table(evaluations: Evaluations) -> dict[str, dict[str, dict[str, float]]]:
    """Return the values of all ``evaluations``, ``{encoder: {benchmark: {metric: value}}}``."""
    return {
        encoder: {result.benchmark: result.scores for result in results}
        for encoder, results in evaluations.items()
    }


def intervals_table(evaluations: Evaluations) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return the intervals of ``evaluations``: {encoder: {benchmark: {metric: [low, high]}}}."""
    return {
        encoder: {
            result.benchmark: {
                metric: list(interval) for metric, interval in result.intervals.items()
            }
            for result in results
        }
        for encoder, results in evaluations.items()
    }


def outcomes_table(evaluations: Evaluations) -> pd.DataFrame:
    """Return a row per encoder, benchmark, item and group of ``evaluations``.

    Its ``correct`` is in [0, 1].
    """
    rows = [
        (encoder, result.benchmark, *outcome)
        for encoder, results in evaluations.items()
        for result in results
        for outcome in result.outcomes
    ]
    return pd.DataFrame(rows, columns=["encoder", "benchmark", "item", "group", "correct"])


def answers_tables(evaluations: Evaluations) -> dict[str, pd.DataFrame]:
    """Return MMVP-VLM's per-question tables in ``evaluations``, by file name.

    There is one for each encoder, and for each set where there are several.
    """
    return {
        "_".join(["mmvp", *result.benchmark.split("/")[1:], encoder]): pd.DataFrame(result.answers)
        for encoder, results in evaluations.items()
        for result in results
        if result.answers
    }


def result_records(evaluations: Evaluations, model: str, language: str) -> list[dict[str, Any]]:
    """Return one record per set and result, with CLIP_benchmark's keys.

    ``pretrained`` names the encoder.

    Args:
        evaluations: of all encoders; means over sets are left out, since each set has its own
            record.
        model: what the records call the model, under the key ``model``.
        language: of class names and captions, under the key ``language``.
    """
    return [
        {
            "dataset": result.dataset,
            "model": model,
            "pretrained": encoder,
            "task": result.task,
            "metrics": {**result.scores, **result.extra},
            "language": language,
        }
        for encoder, results in evaluations.items()
        for result in results
        if result.task != MEAN_OF_SETS
    ]


def set_records(sets: Sequence[NamedSet], evaluations: Evaluations) -> list[dict[str, Any]]:
    """Return what each set that can be opened is.

    ``dataset`` is what records call it, ``benchmarks`` are those that were computed on it, and
    ``notes`` sentences on what was left out of it and what its scores lack. ``overrides`` are how
    many items its overrides ``drop`` and ``correct``, {} without any. Of caption selection
    ``published_rules`` are those of published numbers on such a set, and ``rules`` say of each
    benchmark and metric by which ``rule`` it is scored, and what ``chance`` gives.

    Args:
        sets: of the recipe, in the order of the records.
        evaluations: of all encoders, from which ``benchmarks`` and part of the notes come.
    """
    opened, _ = open_sets(sets)
    results = [result for found in evaluations.values() for result in found]
    return [
        _set_record(named, opened[named.name], results) for named in sets if named.name in opened
    ]


def _set_record(
    named: NamedSet, opened: BenchmarkSet, every_result: Sequence[Result]
) -> dict[str, Any]:
    names = (opened.name, f"{opened.name}+{OVERRIDES}")
    results = [result for result in every_result if result.dataset in names]
    notes = [*opened.notes, *(note for result in results for note in result.notes)]
    return {
        "name": named.name,
        "kind": named.kind,
        "folder": opened.folder,
        "dataset": opened.name,
        "benchmarks": list(
            dict.fromkeys(result.benchmark for result in results if result.task != MEAN_OF_SETS)
        ),
        "notes": list(dict.fromkeys(notes)),
        "overrides": {
            action: sum(one.action == action for one in opened.overrides.entries)
            for action in (DROP, CORRECT)
        }
        if opened.overrides.entries
        else {},
        "published_rules": list(getattr(opened, "published_rules", ())),
        "rules": {
            result.benchmark: {
                metric: {"rule": rule, "chance": result.chance[metric]}
                for metric, rule in result.rules.items()
            }
            for result in results
            if result.rules and result.task != MEAN_OF_SETS
        },
    }
