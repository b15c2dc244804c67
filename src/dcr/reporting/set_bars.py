"""Bars of every set: one panel a benchmark, one bar an encoder, with the encoder's own interval."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcr.metrics.direction import is_share
from dcr.reporting.figures import axis, colour, layout
from dcr.reporting.names import Intervals, Scores, benchmark_name, encoder_name, metric_name


def plot_sets(scores: Scores, intervals: Intervals) -> go.Figure:
    """Draw each benchmark's first measure on each of its sets, in percent.

    A set is ``<benchmark>/<set>``, or the one there is. The mean over sets stands beside them.
    Benchmarks whose values have no better end are left out.

    Args:
        scores: of methods, one bar each in a group.
        intervals: of the same, as error bars.
    """
    panels = _panels(scores)
    titles = [
        f"{benchmark_name(family)}, {metric_name(metric)}" for family, (metric, _) in panels.items()
    ]
    rows = -(-len(panels) // 2) or 1
    figure = make_subplots(rows=rows, cols=2, subplot_titles=titles, vertical_spacing=0.32 / rows)
    for place, (metric, benchmarks) in enumerate(panels.values()):
        for encoder in scores:
            bars = _bars(
                encoder, metric, benchmarks, scores[encoder], intervals[encoder], place == 0
            )
            figure.add_trace(bars, row=place // 2 + 1, col=place % 2 + 1)
    figure.update_layout(**layout(height=300 * rows), barmode="group")
    figure.update_xaxes(**axis()).update_yaxes(**axis(), rangemode="tozero")
    return figure


def _panels(scores: Scores) -> dict[str, tuple[str, dict[str, str]]]:
    """Return by benchmark its first metric and {benchmark or benchmark/set: words for the axis}."""
    panels: dict[str, tuple[str, dict[str, str]]] = {}
    for benchmarks in scores.values():
        for name, metrics in benchmarks.items():
            family, _, dataset = name.partition("/")
            if is_share(family):
                panels.setdefault(family, (next(iter(metrics)), {}))[1][name] = dataset
    for family, (_, names) in panels.items():
        several = any(label not in ("", "overrides") for label in names.values())
        names.update(
            {name: names[name] or ("mean" if several else "") for name in names if name == family}
        )
    return panels


def _bars(
    encoder: str,
    metric: str,
    benchmarks: Mapping[str, str],
    scores: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Mapping[str, tuple[float, float]]],
    show_legend: bool,
) -> go.Bar:
    there = [name for name in benchmarks if metric in scores.get(name, {})]
    values = [scores[name][metric] for name in there]
    bounds = [intervals[name][metric] for name in there]
    return go.Bar(
        x=[benchmarks[name] for name in there],
        y=[100 * value for value in values],
        error_y={
            "type": "data",
            "symmetric": False,
            "thickness": 1.3,
            "width": 3,
            "array": [
                100 * (high - value) for value, (_, high) in zip(values, bounds, strict=True)
            ],
            "arrayminus": [
                100 * (value - low) for value, (low, _) in zip(values, bounds, strict=True)
            ],
        },
        name=encoder_name(encoder),
        legendgroup=encoder,
        showlegend=show_legend,
        marker={"color": colour(encoder)},
        hovertemplate="%{x}: %{y:.1f} %<extra>" + encoder_name(encoder) + "</extra>",
    )
