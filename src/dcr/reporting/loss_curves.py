"""How each run's loss, that of each source, and the held-out noise error went."""

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


def plot_losses(
    losses: Mapping[str, pd.DataFrame], bounds: Mapping[str, Mapping[str, float]], window: int
) -> go.Figure:
    """Draw each run's loss over its steps, and in a last panel the held-out noise error of all.

    Args:
        losses: by run, one row a logged step with ``step``, ``loss`` and, on some rows,
            ``validation_loss``; of a mixture, each source's, which are dashed.
        bounds: by run, named values to mark in its panel, such as the loss's floor.
        window: rows of the rolling median drawn over the raw loss, which a few timesteps dominate.
    """
    held_out = any("validation_loss" in frame for frame in losses.values())
    titles = [run_name(run) for run in losses] + ["Held-out noise error"] * held_out
    columns = min(3, len(titles)) or 1
    rows = math.ceil(len(titles) / columns) or 1
    # Plotly's spacing is a share of the whole figure, which grows with the rows.
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=titles,
        vertical_spacing=0.4 / max(2, rows),
        horizontal_spacing=0.08,
    )
    for place, (run, frame) in enumerate(losses.items()):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        figure.add_traces(_loss_lines(run, frame, window), rows=at["row"], cols=at["col"])
        for name, value in bounds.get(run, {}).items():
            figure.add_hline(
                value,
                line={"color": "#848a94", "width": 1, "dash": "dot"},
                annotation_text=name,
                annotation_font_size=11,
                annotation_position="bottom right",
                **at,
            )
        if held_out and "validation_loss" in frame:
            figure.add_trace(
                _held_out_line(run, frame), row=rows, col=(len(titles) - 1) % columns + 1
            )
    figure.update_layout(**layout(height=280 * rows))
    figure.update_xaxes(**axis()).update_yaxes(**axis())
    figure.update_xaxes(title="step", row=rows)
    return write_single_points(figure)


def dcr_loss_bounds(batch_size: int) -> dict[str, float]:
    """Return the DCR loss's floor, and its value when all similarities are equal.

    Source: arXiv 2603.04803.

    Args:
        batch_size: images of a batch, B: one of B + 1 similarities is then the positive's.
    """
    return {
        "floor, log 2": math.log(2),
        f"no contrast, log {batch_size + 1}": math.log(batch_size + 1),
    }


def _loss_lines(run: str, frame: pd.DataFrame, window: int) -> list[go.Scatter]:
    smooth = frame["loss"].rolling(window, min_periods=1, center=True).median()
    raw = {"color": colour(run), "width": 1}
    return [
        go.Scatter(
            x=frame["step"],
            y=frame["loss"],
            line=raw,
            opacity=0.35,
            hoverinfo="skip",
            showlegend=False,
        ),
        go.Scatter(
            x=frame["step"],
            y=smooth,
            line={"color": colour(run), "width": 2.5},
            showlegend=False,
            name=run_name(run),
            hovertemplate="step %{x}: %{y:.4f}<extra>rolling median</extra>",
        ),
        *_source_lines(run, frame, window),
    ]


def _source_lines(run: str, frame: pd.DataFrame, window: int) -> list[go.Scatter]:
    """Return the rolling median of each source's own loss, or noise error, where there are several.

    Args:
        run: whose log it is.
        frame: the log, with columns of each source as `dcr.training.source_columns` names them.
        window: rows of the median.
    """
    columns = [
        name
        for name in frame
        if split_column(name)[0] in ("loss", "reconstruction") and split_column(name)[1]
    ]
    return [
        go.Scatter(
            x=frame["step"],
            y=frame[name].rolling(window, min_periods=1, center=True).median(),
            line={"color": colour(run), "width": 1.5, "dash": source_dash(number)},
            showlegend=False,
            name=name,
            hovertemplate="step %{x}: %{y:.4f}<extra>" + name + "</extra>",
        )
        for number, name in enumerate(columns)
    ]


def _held_out_line(run: str, frame: pd.DataFrame) -> go.Scatter:
    measured = frame.dropna(subset=["validation_loss"])
    return go.Scatter(
        x=measured["step"],
        y=measured["validation_loss"],
        name=run_name(run),
        mode="lines+markers",
        line={"color": colour(run), "width": 2},
        marker={"size": 5},
        hovertemplate="step %{x}: %{y:.4f}<extra>" + run_name(run) + "</extra>",
    )
