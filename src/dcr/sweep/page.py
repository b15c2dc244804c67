"""The comparison as one page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dcr.pages import fill_template
from dcr.sweep.comparison import SweepRun, compare_signals, headline, runs_table


def render_comparison(
    runs: Sequence[SweepRun], measures: Mapping[str, str], baseline: str, confidence: float
) -> str:
    """Return the page of a sweep.

    Args:
        runs: from `gather_runs`.
        measures: column to ``<benchmark>.<metric>``, in the order of the page.
        baseline, confidence: the signal and the level that `compare_signals` takes.
    """
    table = compare_signals(runs, list(measures), baseline, confidence)
    reach = {measure: _reach(table, measure) for measure in measures}
    return fill_template(
        "dcr.sweep",
        "page.html",
        rows=table.to_dict("records"),
        runs=runs_table(runs).to_dict("records"),
        measures=measures,
        baseline=baseline,
        confidence=confidence,
        before={
            measure: np.mean([run.before[measure].value for run in runs]) for measure in measures
        },
        reach=reach,
        headline=headline(table, measures, baseline),
    )


def _reach(table: pd.DataFrame, measure: str) -> float:
    """Return the largest distance from zero of any difference's interval, for their axis."""
    bounds = table[[f"{measure}_difference_low", f"{measure}_difference_high"]].abs()
    largest = bounds.max(axis=None)
    # NaN and nothing but zeros have no axis of their own.
    return float(largest) if largest > 0 else 1.0
