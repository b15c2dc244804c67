"""A line of a single point is a number."""

from __future__ import annotations

import plotly.graph_objects as go


def write_single_points(figure: go.Figure) -> go.Figure:
    """Write its value beside each line of ``figure`` with a single point; return the figure.

    Lines have one after a run of one step.
    """
    for trace in figure.data:
        if trace.type == "scatter" and len(trace.x) == 1 and "lines" in (trace.mode or "lines"):
            trace.update(mode="markers+text", text=[f"{trace.y[0]:.4g}"], textposition="top center")
    return figure
