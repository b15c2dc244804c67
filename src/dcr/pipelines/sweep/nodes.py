"""Node of pipeline `sweep`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcr.parameters import SweepParameters

Opener = Callable[[], dict[str, Any]]


def compare_runs(
    parameters: SweepParameters, scores: dict[str, Opener], records: dict[str, Opener], evaluations: dict[str, Opener]
) -> str:
    """Compare the signals of all finished runs over their seeds.

    Raises:
        UserError: the files of a run are not of one training and its evaluation.
    """
    from dcr.provenance import check_sweep_run
    from dcr.sweep.comparison import gather_runs
    from dcr.sweep.page import render_comparison

    measures = {"P": parameters.detail_measure, "D": parameters.separation_measure}
    finished = {name: load() for name, load in scores.items() if name in records and name in evaluations}
    trained = {name: records[name]() for name in finished}
    for name in finished:
        check_sweep_run(name, trained[name], evaluations[name](), finished[name])
    runs = gather_runs(finished, trained, measures)
    return render_comparison(runs, measures, parameters.baseline, parameters.confidence)
