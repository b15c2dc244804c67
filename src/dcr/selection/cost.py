"""What a search takes: steps, and hours by what earlier candidates took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dcr.training.runs import Run


def count_steps(runs: Iterable[Run]) -> int:
    """Return the optimizer steps of all ``runs`` together."""
    return sum(run.max_train_steps for run in runs)


def estimate_seconds(done: Sequence[Mapping[str, Any]], left: Sequence[Sequence[Run]]) -> float:
    """Return how long candidates will take, by the pace of those that are done.

    At least one is done. A step takes what steps of its objective took, or all steps where no such
    run is done; what is no training takes as long for each candidate as it did so far.

    Args:
        done: outcomes, with ``seconds`` and ``runs``. left: the runs of each candidate that is
            still to be tried.
    """
    runs = [run for outcome in done for own in outcome["runs"].values() for run in own.values()]
    objectives = {run["objective"] for run in runs}
    paces = {
        objective: _pace(run for run in runs if run["objective"] == objective)
        for objective in objectives
    }
    everywhere = _pace(runs)
    trained = sum(run["seconds"] for run in runs)
    other = max(0.0, sum(outcome["seconds"] for outcome in done) - trained) / len(done)
    training: float = sum(
        run.max_train_steps * paces.get(run.objective, everywhere) for own in left for run in own
    )
    rest: float = other * len(left)
    return training + rest


def _pace(runs: Iterable[Mapping[str, Any]]) -> float:
    """Return the seconds of a step."""
    runs = list(runs)
    seconds: float = sum(run["seconds"] for run in runs)
    steps: int = sum(run["steps"] for run in runs)
    return seconds / max(1, steps)


def hours(seconds: float) -> str:
    """Return ``seconds`` as hours with two decimals, for people."""
    return f"{seconds / 3600:.2f}"
