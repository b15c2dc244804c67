"""Any number of encoders side by side, on one page that asks the network for nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dcr.evaluation.comparison import Comparison
from dcr.evaluation.multiplicity import correct
from dcr.metrics.direction import is_share
from dcr.metrics.runs import spread_over_runs
from dcr.published.tables import Columns
from dcr.reporting.method_tables import build_alignment_table, build_rival_table, measures_of
from dcr.reporting.methods import Methods
from dcr.reporting.names import Scores, encoder_name, measure_name
from dcr.reporting.numbers import change_cell, show_interval, show_value
from dcr.reporting.page import NOTHING_SCORED, render_template
from dcr.reporting.rules import tell_published, tell_rules


@dataclass(frozen=True)
class Encoders:
    """Everything the page tells.

    Attributes:
        recipe: its name.
        methods: what was measured of them, see :mod:`dcr.reporting.methods`.
        measures: of the headline, keys ``benchmark.metric`` by what they ask for.
        confidence: of the intervals.
        flips: by encoder, see `dcr.reporting.images.find_flipped_pairs`.
        neighbours: rows of `dcr.reporting.neighbours.show_neighbours`.
        runs: scores by seed of the runs that differ in ``training.seed`` alone, this one among
            them.
        this_seed: its seed.
        failures: ``set``, ``encoder`` and ``error`` each.
        sets: see `dcr.evaluation.tables.set_records`.
        published: what papers state of the backbone, to stand beside, or None.
    """

    recipe: str
    methods: Methods
    measures: Mapping[str, Sequence[str]]
    confidence: float
    flips: Mapping[str, Mapping[str, Any]]
    neighbours: Sequence[Mapping[str, Any]]
    runs: Mapping[int, Scores]
    this_seed: int
    failures: Sequence[Mapping[str, str | None]]
    sets: Sequence[Mapping[str, Any]]
    published: Columns | None


def render_comparison(encoders: Encoders, figures: Mapping[str, go.Figure]) -> str:
    """Return the page on ``encoders``.

    ``figures`` are ``radar``, ``p_against_d`` and ``set_bars``.
    """
    published = encoders.published.scores if encoders.published else {}
    methods = encoders.methods.without_forms()
    keys = measures_of(methods.scores)
    shown = {
        name: [comparison for comparison in found if comparison.key in keys]
        for name, found in methods.comparisons.items()
    }
    family = correct(shown, encoders.confidence)
    rows = build_score_rows(methods, published, tell_rules(encoders.sets), family.survivors)
    return render_template(
        "comparison.html",
        figures,
        page=encoders,
        headline=f"{len(methods.scores)} encoders, {len(rows)} measures"
        if encoders.sets
        else NOTHING_SCORED,
        base_name=encoder_name(methods.base),
        method_name=encoder_name(methods.product),
        names={name: encoder_name(name) for name in methods.scores},
        seeds={name: len(own) for name, own in methods.seeds.items()},
        published=list(published),
        family=family,
        published_rules=tell_published(encoders.sets, published),
        rows=rows,
        rival_table=build_rival_table(methods, encoders.measures),
        alignment_table=build_alignment_table(encoders.methods, encoders.measures),
        flips=[{"name": encoder_name(name), **found} for name, found in encoders.flips.items()],
        run_rows=build_run_rows(encoders.runs, list(methods.scores), encoders.confidence),
        confidence=f"{encoders.confidence * 100:g}",
    )


def build_score_rows(
    methods: Methods,
    published: Mapping[str, Mapping[str, float]],
    rules: Mapping[str, str],
    survivors: Collection[tuple[str, str]],
) -> list[dict[str, Any]]:
    """Return a row a measure: each method's value, interval and verdict, then published values.

    Types and attributes stand behind their mean, which alone is shown.

    Args:
        methods: a column each.
        published: fractions by measure, ``benchmark.metric``, of each published method; see
            `dcr.published.tables.Columns`.
        rules: words for the rule of a measure, see `dcr.reporting.rules.tell_rules`.
        survivors: (method, measure) of the verdicts that survive the correction for their number.
    """
    verdicts = {name: {c.key: c for c in found} for name, found in methods.comparisons.items()}
    rows = []
    for key in measures_of(methods.scores):
        share = is_share(key.partition(".")[0])
        cells = [
            _cell(methods, name, key, share, verdicts.get(name, {}).get(key))
            for name in methods.scores
        ]
        for name, cell in zip(methods.scores, cells, strict=True):
            if cell is not None:
                cell["survives"] = (name, key) in survivors
        values = [published[method].get(key) for method in published]
        stated = ["" if value is None else show_value(value, share) for value in values]
        rows.append(
            {
                "name": measure_name(key),
                "unit": "%" if share else "",
                "rule": rules.get(key, ""),
                "cells": cells,
                "published": stated,
            }
        )
    return rows


def _cell(
    methods: Methods, name: str, key: str, share: bool, comparison: Comparison | None
) -> dict[str, Any] | None:
    benchmark, _, metric = key.partition(".")
    value = methods.scores[name].get(benchmark, {}).get(metric)
    if value is None:
        return None
    interval = methods.intervals[name][benchmark][metric]
    cell = {
        "value": show_value(value, share),
        "interval": show_interval(interval, share),
        "verdict": "",
        "change": "",
    }
    if comparison is not None:
        change = change_cell(comparison)
        cell |= {
            "verdict": comparison.verdict,
            "change": f"{change['difference']} {change['sign']} {change['verdict']}",
            "change_interval": change["interval"],
        }
    return cell


def build_run_rows(
    runs: Mapping[int, Scores], names: Sequence[str], confidence: float
) -> list[dict[str, Any]]:
    """Return a row a measure with each encoder's mean, spread and interval over whole runs.

    For one run there are none.

    Args:
        runs: scores by the seed of a run.
        names: encoders, in the order of the columns; a run's own seed of each counts.
        confidence: of the intervals.
    """
    if len(runs) < 2:
        return []
    rows = []
    for key in measures_of(next(iter(runs.values()))):
        benchmark, _, metric = key.partition(".")
        found = [
            [run.get(name, {}).get(benchmark, {}).get(metric) for run in runs.values()]
            for name in names
        ]
        share = is_share(benchmark)
        cells = [_spread_cell(values, confidence, share) for values in found]
        rows.append({"name": measure_name(key), "unit": "%" if share else "", "cells": cells})
    return rows


def _spread_cell(
    values: Sequence[float | None], confidence: float, share: bool
) -> dict[str, str] | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    spread = spread_over_runs(known, confidence)
    return {
        "value": f"{show_value(spread.mean, share)} ± {show_value(spread.std, share)}",
        "interval": show_interval(spread.interval, share),
    }
