"""Any number of encoders side by side, on one page that asks the network for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dcr.metrics.runs import spread_over_runs
from dcr.reporting.comparison import Comparison, Scores
from dcr.reporting.names import encoder_name, is_share, measure_name
from dcr.reporting.page import NOTHING_SCORED, render_template
from dcr.reporting.published import published_scores
from dcr.reporting.tables import SIGNS, measures_of, show_difference, show_interval, show_value


@dataclass(frozen=True)
class Encoders:
    """Everything the page tells.

    recipe: its name. base: of the encoders. scores, intervals: see :data:`dcr.reporting.comparison.Scores`.
    comparisons: by encoder, each against ``base``. flips: by encoder, see `dcr.reporting.images.find_flipped_pairs`.
    neighbours: rows of `dcr.reporting.neighbours.show_neighbours`. seeds: scores by training seed, this run's among
    them. this_seed: its seed. failures: ``set``, ``encoder`` and ``error`` each. sets: see
    `dcr.evaluation.tables.set_records`. published: the backbone whose
    published figures stand beside, one of `dcr.reporting.published.BACKBONES`, or None.
    """

    recipe: str
    base: str
    confidence: float
    scores: Scores
    intervals: Scores
    comparisons: Mapping[str, Sequence[Comparison]]
    flips: Mapping[str, Mapping[str, Any]]
    neighbours: Sequence[Mapping[str, Any]]
    seeds: Mapping[int, Scores]
    this_seed: int
    failures: Sequence[Mapping[str, str | None]]
    sets: Sequence[Mapping[str, Any]]
    published: str | None


def render_comparison(encoders: Encoders, figures: Mapping[str, go.Figure]) -> str:
    """Return the page; ``figures`` are ``radar``, ``p_against_d`` and ``set_bars``."""
    published = published_scores(encoders.published) if encoders.published else {}
    rows = build_score_rows(encoders, published)
    return render_template(
        "comparison.html",
        figures,
        page=encoders,
        headline=f"{len(encoders.scores)} encoders, {len(rows)} measures" if encoders.sets else NOTHING_SCORED,
        names={name: encoder_name(name) for name in encoders.scores},
        methods=list(published),
        rows=rows,
        flips=[{"name": encoder_name(name), **found} for name, found in encoders.flips.items()],
        seed_rows=build_seed_rows(encoders.seeds, encoders.confidence),
        confidence=f"{encoders.confidence * 100:g}",
    )


def build_score_rows(encoders: Encoders, published: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return a row a measure: each encoder's value with its interval and verdict, then the published values.

    Types and attributes stand behind their mean, which alone is shown.
    """
    verdicts = {name: {c.key: c for c in found} for name, found in encoders.comparisons.items()}
    rows = []
    for key in measures_of(encoders.scores):
        share = is_share(key.partition(".")[0])
        cells = [_cell(encoders, name, key, share, verdicts.get(name, {}).get(key)) for name in encoders.scores]
        values = [published[method].get(key) for method in published]
        stated = ["" if value is None else show_value(value, share) for value in values]
        rows.append({"name": measure_name(key), "unit": "%" if share else "", "cells": cells, "published": stated})
    return rows


def _cell(encoders: Encoders, name: str, key: str, share: bool, comparison: Comparison | None) -> dict[str, str] | None:
    benchmark, _, metric = key.partition(".")
    value = encoders.scores[name].get(benchmark, {}).get(metric)
    if value is None:
        return None
    interval = encoders.intervals[name][benchmark][metric]
    cell = {"value": show_value(value, share), "interval": show_interval(interval, share), "verdict": "", "change": ""}
    if comparison is not None:
        change = f"{show_difference(comparison.difference, share)} {SIGNS[comparison.verdict]} {comparison.verdict}"
        cell |= {"verdict": comparison.verdict, "change": change}
    return cell


def build_seed_rows(seeds: Mapping[int, Scores], confidence: float) -> list[dict[str, Any]]:
    """Return a row a measure with mean, spread and interval of each encoder over training seeds; none for one seed."""
    if len(seeds) < 2:
        return []
    encoders = list(next(iter(seeds.values())))
    rows = []
    for key in measures_of(next(iter(seeds.values()))):
        benchmark, _, metric = key.partition(".")
        found = {n: [s.get(n, {}).get(benchmark, {}).get(metric) for s in seeds.values()] for n in encoders}
        share = is_share(benchmark)
        cells = [_spread_cell(values, confidence, share) for values in found.values()]
        rows.append({"name": measure_name(key), "unit": "%" if share else "", "cells": cells})
    return rows


def _spread_cell(values: Sequence[float | None], confidence: float, share: bool) -> dict[str, str] | None:
    if None in values:
        return None
    spread = spread_over_runs(values, confidence)
    return {
        "value": f"{show_value(spread.mean, share)} ± {show_value(spread.std, share)}",
        "interval": show_interval(spread.interval, share),
    }
