"""Results of several encoders as the tables and records that others read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dcr.benchmark_sets import BenchmarkSet, NamedSet
from dcr.evaluation.results import Result
from dcr.evaluation.running import MEAN_OF_SETS, open_sets
from dcr.metrics.bootstrap import Bootstrap, mcnemar

BASE = "base"
Evaluations = Mapping[str, Sequence[Result]]


def scores_table(evaluations: Evaluations) -> dict[str, dict[str, dict[str, float]]]:
    """Return ``{encoder: {benchmark: {metric: value}}}``."""
    return {
        encoder: {result.benchmark: result.scores for result in results} for encoder, results in evaluations.items()
    }


def intervals_table(evaluations: Evaluations) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return ``{encoder: {benchmark: {metric: [low, high]}}}``."""
    return {
        encoder: {
            result.benchmark: {metric: list(interval) for metric, interval in result.intervals.items()}
            for result in results
        }
        for encoder, results in evaluations.items()
    }


def outcomes_table(evaluations: Evaluations) -> pd.DataFrame:
    """Return one row per encoder, benchmark, item and group, with ``correct`` in [0, 1]."""
    rows = [
        (encoder, result.benchmark, *outcome)
        for encoder, results in evaluations.items()
        for result in results
        for outcome in result.outcomes
    ]
    return pd.DataFrame(rows, columns=["encoder", "benchmark", "item", "group", "correct"])


def answers_tables(evaluations: Evaluations) -> dict[str, pd.DataFrame]:
    """Return MMVP-VLM's per-question table of each encoder, and of each set where there are several, by file name."""
    return {
        "_".join(["mmvp", *result.benchmark.split("/")[1:], encoder]): pd.DataFrame(result.answers)
        for encoder, results in evaluations.items()
        for result in results
        if result.answers
    }


def result_records(evaluations: Evaluations, model: str, language: str) -> list[dict[str, Any]]:
    """Return one record per set and result with CLIP_benchmark's keys; ``pretrained`` names the encoder."""
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

    ``dataset`` is what records call it, ``benchmarks`` are those that were computed on it, and ``notes`` sentences on
    what was left out of it and what its scores lack.
    """
    opened, _ = open_sets(sets)
    results = [result for found in evaluations.values() for result in found]
    return [
        _set_record(named, opened[named.name], [r for r in results if r.dataset == opened[named.name].name])
        for named in sets
        if named.name in opened
    ]


def _set_record(named: NamedSet, opened: BenchmarkSet, results: Sequence[Result]) -> dict[str, Any]:
    notes = [*opened.notes, *(note for result in results for note in result.notes)]
    return {
        "name": named.name,
        "kind": named.kind,
        "folder": opened.folder,
        "dataset": opened.name,
        "benchmarks": list(dict.fromkeys(result.benchmark for result in results if result.task != MEAN_OF_SETS)),
        "notes": list(dict.fromkeys(notes)),
    }


def compare_with_base(outcomes: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, dict[str, dict[str, Any]]]:
    """Return ``{encoder: {benchmark: comparison}}`` of every encoder but the base, item by item.

    A comparison holds ``difference`` with its paired bootstrap interval ``low``, ``high``, and, where an item
    is right or wrong once, the items ``gained`` and ``lost`` and McNemar's exact ``p_value``, else None. The
    difference is that of MMVP-VLM's mean over types, and else that of the mean over items. Where a benchmark has
    several sets (``<benchmark>/<set>``), ``<benchmark>`` itself is compared by the mean over sets of these means.
    """
    comparisons: dict[str, dict[str, dict[str, Any]]] = {}
    for benchmark, rows in outcomes.groupby("benchmark", sort=False):
        table = rows.pivot_table(index=["group", "item"], columns="encoder", values="correct", sort=False)
        for encoder in table.columns.drop(BASE, errors="ignore"):
            pair = table[[BASE, encoder]].dropna() if BASE in table.columns else table.iloc[:0]
            if len(pair):
                comparisons.setdefault(encoder, {})[benchmark] = _compare(benchmark, pair, bootstrap)
    for encoder in comparisons:
        comparisons[encoder] |= _compare_means(outcomes, encoder, bootstrap)
    return comparisons


def _compare_means(outcomes: pd.DataFrame, encoder: str, bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    rows = outcomes[outcomes["encoder"].isin([BASE, encoder]) & outcomes["benchmark"].str.contains("/")]
    names = rows["benchmark"].str.split("/", n=1, expand=True)
    if rows.empty:
        return {}
    rows = rows.assign(benchmark=names[0], set=names[1])
    means = {}
    for benchmark, part in rows.groupby("benchmark", sort=False):
        pair = part.pivot_table(index=["set", "item"], columns="encoder", values="correct", sort=False)
        pair = pair.reindex(columns=[BASE, encoder]).dropna()
        if len(pair):
            sets = pair.index.get_level_values("set").to_numpy()
            means[benchmark] = _difference(pair[BASE], pair[encoder], sets, bootstrap, None, None, None)
    return means


def _difference(before, after, groups, bootstrap: Bootstrap, gained, lost, p_value) -> dict[str, Any]:
    difference, low, high = bootstrap.paired_difference(np.asarray(before), np.asarray(after), groups)
    return {"difference": difference, "low": low, "high": high, "gained": gained, "lost": lost, "p_value": p_value}


def _compare(benchmark: str, pair: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, Any]:
    before, after = (pair.iloc[:, column] for column in (0, 1))
    once = pair.index.get_level_values("item").is_unique and pair.isin([0.0, 1.0]).all(axis=None)
    gained, lost, p_value = mcnemar(before > 0.5, after > 0.5) if once else (None, None, None)
    groups = pair.index.get_level_values("group").to_numpy() if benchmark.startswith("mmvp_vlm") else None
    if groups is None:
        by_item = pair.groupby(level="item", sort=False).mean()
        before, after = by_item.iloc[:, 0], by_item.iloc[:, 1]
    return _difference(before, after, groups, bootstrap, gained, lost, p_value)
