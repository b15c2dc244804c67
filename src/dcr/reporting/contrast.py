"""What the contrast did over a run's steps, as far as the recipe had it measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcr.reporting.figures import axis, colour, layout, source_dash
from dcr.reporting.names import run_name
from dcr.reporting.points import write_single_points
from dcr.training.source_columns import split_column

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
"""Of a mixture alone, with a line for each source, see `dcr.training.source_columns`."""


def plot_contrast(losses: Mapping[str, pd.DataFrame], window: int) -> go.Figure:
    """Draw each diagnostic of the contrast over the steps, one panel each, one line a run.

    A mixture has further panels, in which a run's whole is solid and its sources are dashed.

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
        for run, column, dash in drawn[name]:
            measured = losses[run].dropna(subset=[column])
            line = _line(run, measured, column, window, dash)
            line.showlegend = line.name not in shown
            shown.add(line.name)
            figure.add_trace(line, row=place // columns + 1, col=place % columns + 1)
    figure.update_layout(**layout(height=280 * rows + 40))
    figure.update_layout(margin={"b": 100}, legend={"y": -0.12, "yanchor": "top"})
    figure.update_xaxes(**axis()).update_yaxes(**axis())
    figure.update_xaxes(title="step", row=rows)
    return write_single_points(figure)


def _columns(losses: Mapping[str, pd.DataFrame], name: str) -> list[tuple[str, str, str]]:
    """Return run, column and dash of each line of a panel."""
    found = []
    for run, frame in losses.items():
        whole = [(run, name, "solid")] if name in frame else []
        own = [column for column in frame if split_column(column)[0] == name != column]
        if name in SOURCE_PANELS and not own:
            continue
        found += whole + [(run, column, source_dash(i)) for i, column in enumerate(own)]
    return found


def _line(run: str, measured: pd.DataFrame, column: str, window: int, dash: str) -> go.Scatter:
    every_step = measured["step"].diff().max() == 1
    values = (
        measured[column].rolling(window, min_periods=1, center=True).median()
        if every_step
        else measured[column]
    )
    source = split_column(column)[1]
    label = run_name(run) if source is None else f"{run_name(run)}, {source}"
    return go.Scatter(
        x=measured["step"],
        y=values,
        name=label,
        legendgroup=label,
        mode="lines" if every_step else "lines+markers",
        line={"color": colour(run), "width": 2, "dash": dash},
        hovertemplate="step %{x}: %{y:.3f}<extra>" + label + "</extra>",
    )
