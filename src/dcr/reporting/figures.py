"""The page's charts as Plotly figures; Kedro-Viz previews the same ones.

Backgrounds are transparent and lines mid-tone, so that the figures can stand on a light or a dark
page; the page sets text and grid to its own colours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from dcr.encoder_names import EncoderName, split_run
from dcr.reporting.names import Scores, encoder_name

# Okabe and Ito's palette, told apart with any colour vision; on white and on near-black at least
# 3:1.
COLOURS = {
    "base": "#848a94",
    "dcr": "#2b7fd4",
    "reconstruction": "#d96b0b",
    "naive": "#0f9d76",
    "end_to_end": "#a8871c",
    "stage1": "#b0679f",
}
_OTHER_COLOURS = ("#5aa9d6", "#b5533c", "#7a6fd0", "#8a9a1f", "#c2577b")
_DASHES = ("dot", "dash", "dashdot", "longdash")
_GRID = "rgba(132, 138, 148, 0.25)"


def colour(name: str) -> str:
    """Return the colour of the encoder or run ``name``, in every chart.

    It is one for all seeds and phases of a method.
    """
    method = EncoderName.parse(split_run(name)[0]).method
    return COLOURS.get(method, _OTHER_COLOURS[sum(method.encode()) % len(_OTHER_COLOURS)])


def source_dash(number: int) -> str:
    """Return the dash of a run's source by its ``number``, from 0: beside it the whole is solid."""
    return _DASHES[number % len(_DASHES)]


def plot_radar(
    scores: Scores, benchmark: str = "mmvp_vlm", chance: float | None = 0.25
) -> go.Figure:
    """Draw every method's score in every type of a benchmark on a radar, in percent.

    Without any type the figure is empty.

    Args:
        scores: {method: {benchmark: {metric: value}}}; every metric but ``mean`` is a type.
        benchmark: the one whose types are drawn.
        chance: score of guessing, a fraction, drawn as a dotted ring; None draws none.
    """
    types = [
        metric for metric in next(iter(scores.values())).get(benchmark, {}) if metric != "mean"
    ]
    figure = go.Figure()
    if not types:
        return figure
    if chance is not None:
        figure.add_trace(
            _radar_line(types, [chance] * len(types), "Chance", "#848a94", "dot", width=1)
        )
    for encoder, benchmarks in scores.items():
        values = [benchmarks.get(benchmark, {}).get(name, math.nan) for name in types]
        dash = "dash" if encoder == "base" else "solid"
        figure.add_trace(
            _radar_line(types, values, encoder_name(encoder), colour(encoder), dash, width=2.5)
        )
    outer = _outer_ring([value for trace in figure.data for value in trace.r])
    figure.update_layout(
        **layout(height=520),
        polar={
            "bgcolor": "rgba(0,0,0,0)",
            "radialaxis": {
                "range": [0, outer],
                "ticksuffix": " %",
                "gridcolor": _GRID,
                "angle": 90,
                "tickangle": 90,
                "tickvals": [25, 50, 75, 100],
                "showline": False,
            },
            "angularaxis": {"gridcolor": _GRID, "direction": "clockwise", "linecolor": _GRID},
        },
    )
    figure.update_layout(
        margin={"l": 90, "r": 90, "t": 40, "b": 40}, legend={"y": -0.14, "yanchor": "top"}
    )
    return figure


def _outer_ring(percents: Sequence[float]) -> int:
    """Return the quarter of the scale, in percent, that holds every value."""
    largest = max((value for value in percents if not math.isnan(value)), default=100)
    return min(100, 25 * max(1, math.ceil(largest / 25)))


def _radar_line(
    types: Sequence[str], values: Sequence[float], name: str, line: str, dash: str, width: float
) -> go.Scatterpolar:
    closed = [*range(len(types)), 0]
    return go.Scatterpolar(
        r=[values[i] * 100 for i in closed],
        theta=[_wrap(types[i]) for i in closed],
        name=name,
        mode="lines" if name == "Chance" else "lines+markers",
        line={"color": line, "dash": dash, "width": width},
        marker={"size": 6, "color": line},
        hovertemplate="%{theta}: %{r:.1f} %<extra>" + name + "</extra>",
    )


def _wrap(text: str, width: int = 16) -> str:
    """Break a label into lines of about ``width`` characters."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)


def layout(height: int) -> dict[str, Any]:
    """Return the layout that all charts share; ``height`` in px."""
    return {
        "template": "none",
        "height": height,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#848a94"},
        "legend": {
            "orientation": "h",
            "y": 1.06,
            "x": 0.5,
            "xanchor": "center",
            "yanchor": "bottom",
        },
        "margin": {"l": 60, "r": 20, "t": 40, "b": 60},
        "hoverlabel": {"font": {"size": 13}},
    }


def axis() -> dict[str, Any]:
    """Return what all axes share."""
    return {"gridcolor": _GRID, "zeroline": False, "linecolor": _GRID, "automargin": True}
