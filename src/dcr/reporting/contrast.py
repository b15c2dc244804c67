"""What the contrast did over a run's steps, as far as the recipe had it measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcr.reporting.figures import axis, colour, layout
from dcr.reporting.names import run_name
from dcr.reporting.points import write_single_points

PANELS = {
    "alignment": "Alignment (0: views agree)",
    "uniformity": "Uniformity (0: all features alike)",
    "effective_negatives": "Effective number of negatives",
    "target_gradient_share": "Target's share of the pull",
    "conflict_cosine": "Gradients of contrast and noise error, cosine",
}
"""Columns of a loss log, and the titles of their panels."""

SOURCE_PANELS = {
    "similarity_view": "Similarity to the view, by source",
    "similarity_target": "Similarity to the noise, by source",
    "similarity_negative": "Similarity to negatives, by source",
}
"""Of a mixture: columns are ``<name>/<source>``."""


def plot_contrast(losses: Mapping[str, pd.DataFrame], window: int) -> go.Figure:
    """Draw each diagnostic of the contrast over the steps, one panel each, one line a run.

    Args:
        losses: by run, one row a logged step with ``step`` and those columns of `PANELS` and
            `SOURCE_PANELS` that were measured, empty on rows where they were not. Without any the
            figure is empty.
        window: rows of the rolling median that is drawn.
    """
    drawn = {name: _columns(losses, name) for name in PANELS | SOURCE_PANELS}
    panels = [name for name, found in drawn.items() if found]
    if not panels:
        return go.Figure()
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[(PANELS | SOURCE_PANELS)[name] for name in panels],
        vertical_spacing=0.2,
        horizontal_spacing=0.08,
    )
    shown: set[str] = set()
    for place, name in enumerate(panels):
        for run, column in drawn[name]:
            measured = losses[run].dropna(subset=[column])
            line = _line(run, measured, column, window, show_legend=run not in shown)
            figure.add_trace(line, row=place // columns + 1, col=place % columns + 1)
            shown.add(run)
    figure.update_layout(**layout(height=280 * rows + 40))
    figure.update_layout(margin={"b": 100}, legend={"y": -0.12, "yanchor": "top"})
    figure.update_xaxes(**axis()).update_yaxes(**axis())
    figure.update_xaxes(title="step", row=rows)
    return write_single_points(figure)


def _columns(losses: Mapping[str, pd.DataFrame], name: str) -> list[tuple[str, str]]:
    """Return run and column of each line of a panel."""
    return [
        (run, column)
        for run, frame in losses.items()
        for column in frame
        if column == name or (name in SOURCE_PANELS and column.startswith(f"{name}/"))
    ]


def _line(
    run: str, measured: pd.DataFrame, name: str, window: int, show_legend: bool
) -> go.Scatter:
    every_step = measured["step"].diff().max() == 1
    values = (
        measured[name].rolling(window, min_periods=1, center=True).median()
        if every_step
        else measured[name]
    )
    source = name.partition("/")[2]
    label = f"{run_name(run)}, {source}" if source else run_name(run)
    return go.Scatter(
        x=measured["step"],
        y=values,
        name=run_name(run),
        legendgroup=run,
        showlegend=show_legend,
        mode="lines" if every_step else "lines+markers",
        line={"color": colour(run), "width": 2},
        hovertemplate="step %{x}: %{y:.3f}<extra>" + label + "</extra>",
    )
