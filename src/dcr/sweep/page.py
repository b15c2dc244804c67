"""The comparison as one page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dcr.sweep.comparison import compare_signals, headline


def render_comparison(runs: pd.DataFrame, measures: Mapping[str, str], baseline: str, confidence: float) -> str:
    """Return the page of a sweep.

    Args:
        runs: from `gather_runs`.
        measures: column to ``<benchmark>.<metric>``, in the order of the page.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    table = compare_signals(runs, list(measures), baseline, confidence)
    environment = Environment(
        loader=PackageLoader("dcr.sweep"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["shown"] = lambda value: "–" if pd.isna(value) else f"{value:.3f}"
    return environment.get_template("page.html").render(
        rows=table.to_dict("records"),
        runs=runs.to_dict("records"),
        measures=measures,
        baseline=baseline,
        confidence=confidence,
        headline=headline(table, measures, baseline),
    )
