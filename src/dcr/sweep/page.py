"""The comparison as one page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dcr.pages import fill_template
from dcr.sweep.comparison import compare_signals, headline


def render_comparison(runs: pd.DataFrame, measures: Mapping[str, str], baseline: str, confidence: float) -> str:
    """Return the page of a sweep.

    Args:
        runs: from `gather_runs`.
        measures: column to ``<benchmark>.<metric>``, in the order of the page.
    """
    table = compare_signals(runs, list(measures), baseline, confidence)
    reach = {measure: _reach(table, measure) for measure in measures}
    return fill_template(
        "dcr.sweep",
        "page.html",
        rows=table.to_dict("records"),
        runs=runs.to_dict("records"),
        measures=measures,
        baseline=baseline,
        confidence=confidence,
        before={measure: runs[f"{measure}_before"].mean() for measure in measures},
        reach=reach,
        headline=headline(table, measures, baseline),
    )


def _reach(table: pd.DataFrame, measure: str) -> float:
    """Return the largest distance from zero that a difference's interval has, for the axis of all of them."""
    bounds = table[[f"{measure}_difference_low", f"{measure}_difference_high"]].abs()
    largest = bounds.max(axis=None)
    return float(largest) if largest > 0 else 1.0  # NaN and nothing but zeros have no axis of their own
