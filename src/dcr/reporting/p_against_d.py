"""Detail over class separation: what one wants of both, and what a method trades for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, TypeVar

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcr.encoder_names import group_seeds
from dcr.reporting.figures import axis, colour, layout
from dcr.reporting.names import Intervals, Scores, encoder_name, measure_name

T = TypeVar("T")

_SYMBOLS = {"base": "circle", "dcr": "diamond", "reconstruction": "square", "naive": "triangle-up"}


def plot_p_against_d(
    scores: Scores,
    intervals: Intervals,
    encoders: Scores,
    detail_measures: Sequence[str],
    separation_measures: Sequence[str],
) -> go.Figure:
    """Draw detail (P) over class separation (D) in percent, a panel a pair of measures.

    Each method is a point. Up is more detail, right is better separated classes. A point is the
    mean over a method's training seeds, with the interval of either measure as a bar and each seed
    as a faint point; a dotted line joins it to the base.

    Args:
        scores, intervals: of methods, means over seeds.
        encoders: scores of every encoder, whose names tell the seeds.
        detail_measures, separation_measures: ``benchmark.metric``; those that no method has are
            left out.
    """
    details, separations = (
        [key for key in keys if any(_value(own, key) is not None for own in scores.values())]
        for keys in (detail_measures, separation_measures)
    )
    panels = list(product(details, separations))
    columns = min(3, len(panels)) or 1
    rows = -(-len(panels) // columns) or 1
    figure = make_subplots(
        rows=rows, cols=columns, horizontal_spacing=0.1, vertical_spacing=0.2 / rows
    )
    for place, (detail, separation) in enumerate(panels):
        row = place // columns + 1
        column = place % columns + 1
        traces = _seed_points(scores, encoders, detail, separation)
        traces += _means(scores, intervals, detail, separation, show_legend=place == 0)
        figure.add_traces(traces, rows=row, cols=column)
        figure.update_xaxes(title=f"D: {measure_name(separation)} (%)", row=row, col=column)
        figure.update_yaxes(title=f"P: {measure_name(detail)} (%)", row=row, col=column)
    figure.update_layout(**layout(height=420 * rows))
    figure.update_xaxes(**axis()).update_yaxes(**axis())
    return figure


def _value(benchmarks: Mapping[str, Mapping[str, T]], key: str) -> T | None:
    benchmark, _, metric = key.partition(".")
    return benchmarks.get(benchmark, {}).get(metric)


def _points(scores: Scores, detail: str, separation: str) -> dict[str, tuple[float, float]]:
    """Return (D, P) in percent of those that have both."""
    points = {}
    for name, benchmarks in scores.items():
        x = _value(benchmarks, separation)
        y = _value(benchmarks, detail)
        if x is not None and y is not None:
            points[name] = (100 * x, 100 * y)
    return points


def _means(
    scores: Scores, intervals: Intervals, detail: str, separation: str, show_legend: bool
) -> list[go.Scatter]:
    points = _points(scores, detail, separation)
    others = {name: point for name, point in points.items() if name != "base"}
    traces = (
        [_path(points["base"], point, name) for name, point in others.items()]
        if "base" in points
        else []
    )
    for name, (x, y) in points.items():
        x_bar = _error_bar(_value(intervals[name], separation), x, name)
        y_bar = _error_bar(_value(intervals[name], detail), y, name)
        traces.append(_mean(name, x, y, x_bar, y_bar, show_legend))
    return traces


def _seed_points(
    scores: Scores, encoders: Scores, detail: str, separation: str
) -> list[go.Scatter]:
    traces = []
    points = _points(encoders, detail, separation)
    for method, names in group_seeds(encoders).items():
        there = [points[name] for name in names if name in points]
        if method in scores and len(there) > 1:
            traces.append(
                go.Scatter(
                    x=[x for x, _ in there],
                    y=[y for _, y in there],
                    mode="markers",
                    legendgroup=method,
                    showlegend=False,
                    marker={
                        "size": 7,
                        "color": colour(method),
                        "symbol": _symbol(method),
                        "opacity": 0.35,
                    },
                    hovertemplate="D %{x:.1f} %, P %{y:.1f} %<extra>"
                    + encoder_name(method)
                    + ", one seed</extra>",
                )
            )
    return traces


def _error_bar(interval: tuple[float, float] | None, percent: float, method: str) -> dict[str, Any]:
    assert interval is not None  # what has a value has one
    low, high = interval
    bar = {
        "type": "data",
        "symmetric": False,
        "thickness": 1.3,
        "width": 4,
        "color": colour(method),
    }
    return {**bar, "array": [100 * high - percent], "arrayminus": [percent - 100 * low]}


def _mean(
    method: str, x: float, y: float, x_bar: dict[str, Any], y_bar: dict[str, Any], show_legend: bool
) -> go.Scatter:
    return go.Scatter(
        x=[x],
        y=[y],
        error_x=x_bar,
        error_y=y_bar,
        name=encoder_name(method),
        legendgroup=method,
        showlegend=show_legend,
        mode="markers",
        marker={"size": 13, "color": colour(method), "symbol": _symbol(method)},
        hovertemplate="D %{x:.1f} %, P %{y:.1f} %<extra>" + encoder_name(method) + "</extra>",
    )


def _symbol(method: str) -> str:
    return _SYMBOLS.get(method, "pentagon")


def _path(start: tuple[float, float], end: tuple[float, float], method: str) -> go.Scatter:
    return go.Scatter(
        x=[start[0], end[0]],
        y=[start[1], end[1]],
        mode="lines",
        line={"color": colour(method), "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
