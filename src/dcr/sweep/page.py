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
    return fill_template(
        "dcr.sweep",
        "page.html",
        rows=table.to_dict("records"),
        runs=runs.to_dict("records"),
        measures=measures,
        baseline=baseline,
        confidence=confidence,
        headline=headline(table, measures, baseline),
    )
