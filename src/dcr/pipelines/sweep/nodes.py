"""Node of pipeline `sweep`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcr.parameters import SweepParameters

Opener = Callable[[], dict[str, Any]]


def compare_runs(
    parameters: SweepParameters,
    scores: dict[str, Opener],
    measurements: dict[str, Opener],
    records: dict[str, Opener],
    evaluations: dict[str, Opener],
) -> str:
    """Compare the signals of all finished runs over their seeds.

    Args:
        parameters: section `sweep`: measures, the baseline signal, and the level of the intervals.
        scores, measurements, records, evaluations: what loads each of a run's tables and records,
            by ``<signal>-<seed>``; a run that lacks one of them is not finished and left out.

    Raises:
        UserError: the files of a run are not of one training and its evaluation.
    """
    from dcr.evaluation.measurements import read_measurements
    from dcr.evaluation.provenance import check_sweep_run
    from dcr.sweep.comparison import gather_runs
    from dcr.sweep.page import render_comparison

    measures = {"P": parameters.detail_measure, "D": parameters.separation_measure}
    finished = [
        name for name in scores if name in records and name in evaluations and name in measurements
    ]
    trained = {name: records[name]() for name in finished}
    measured = {name: measurements[name]() for name in finished}
    for name in finished:
        tables = {"scores": scores[name](), "measurements": measured[name]}
        check_sweep_run(name, trained[name], evaluations[name](), tables)
    runs = gather_runs(
        {name: read_measurements(table) for name, table in measured.items()}, trained, measures
    )
    return render_comparison(runs, measures, parameters.baseline, parameters.confidence)
