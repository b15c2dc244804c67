"""Signals compared over seeds: no difference counts that chance explains.

Every signal has a run with each seed, and runs of one seed share data order, noise and first
weights. So signals are compared with the baseline seed by seed and item by item, by the one judge
(`dcr.evaluation.comparison`); with S signals beside the baseline each interval is widened to 1 - (1
- confidence) / S (Bonferroni), so that a false winner among all of them is as rare as in one
  comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dcr.encoder_names import split_run
from dcr.errors import UserError
from dcr.evaluation.comparison import ONE_SEED, Estimate, estimate, judge
from dcr.evaluation.measurements import Measured, Measurements

_NOTHING = Estimate(np.nan, np.nan, np.nan, 1)  # of signals that share no seed with the baseline


@dataclass(frozen=True)
class SweepRun:
    """A finished run of a sweep.

    Attributes:
        signal, seed: which one.
        before, after: of each column, what was measured of the base encoder, which is the same in
            all runs, and of the trained one.
        seconds_per_step: what a step of its training cost.
    """

    signal: str
    seed: int
    before: Mapping[str, Measured]
    after: Mapping[str, Measured]
    seconds_per_step: float


def gather_runs(
    measurements: Mapping[str, Measurements],
    records: Mapping[str, dict[str, Any]],
    measures: Mapping[str, str],
) -> list[SweepRun]:
    """Return the runs in the order of their names.

    Args:
        measurements: of each run, by ``<signal>-<seed>``.
        records: what each run's training cost, by the same names.
        measures: column to ``<benchmark>.<metric>``.

    Raises:
        UserError: there is no run, or one lacks a measure.
    """
    if not measurements:
        raise UserError(
            "there is no finished run to compare; make them with "
            "`kedro make-dvc --env sweep` and `dvc repro stages/sweep/dvc.yaml`"
        )
    return [
        _gather_run(name, measurements[name], records[name], measures)
        for name in sorted(measurements)
    ]


def _gather_run(
    name: str, measured: Measurements, record: Mapping[str, Any], measures: Mapping[str, str]
) -> SweepRun:
    signal, _, seed = name.rpartition("-")
    method = next((encoder for encoder in measured if encoder != "base"), "")
    sides: dict[str, dict[str, Measured]] = {"base": {}, "after": {}}
    for column, measure in measures.items():
        benchmark, _, metric = measure.partition(".")
        try:
            sides["base"][column] = measured["base"][benchmark][metric]
            sides["after"][column] = measured[method][benchmark][metric]
        except KeyError as exc:
            raise UserError(
                f"run {name} has no {measure}; name a measure of scores.json in `sweep`"
            ) from exc
    phases = [run for key, run in record["runs"].items() if split_run(key)[0] == method]
    seconds, steps = (sum(run[key] for run in phases) for key in ("seconds", "steps"))
    return SweepRun(signal, int(seed), sides["base"], sides["after"], seconds / steps)


def runs_table(runs: Sequence[SweepRun]) -> pd.DataFrame:
    """Return a row for each of ``runs``: ``signal``, ``seed``, measures, ``seconds_per_step``."""
    return pd.DataFrame(
        {
            "signal": run.signal,
            "seed": run.seed,
            **{column: measured.value for column, measured in run.after.items()},
            "seconds_per_step": run.seconds_per_step,
        }
        for run in runs
    )


def compare_signals(
    runs: Sequence[SweepRun], measures: Sequence[str], baseline: str, confidence: float
) -> pd.DataFrame:
    """Return one row a signal, the baseline's first, with the number of seeds and the cost.

    Each measure has mean, interval and verdict. The cost is that of the fastest run, which other
    work on the machine disturbed least.

    Columns of measure m: ``m``, ``m_low``, ``m_high`` (the mean over seeds and its interval over
    seeds and items), ``m_difference`` to the baseline with ``m_difference_low`` and
    ``m_difference_high``, and ``m_verdict``: ``baseline``, or one of the judge's, ``one seed``
    where chance cannot be told.

    Args:
        runs: all that are finished.
        measures: columns of the runs that are compared.
        baseline: the signal that the others are compared with.
        confidence: level of the intervals of means, in (0, 1); that of differences is widened.

    Raises:
        UserError: the baseline has no run, or runs were not measured on the same items.
    """
    finished = sorted({run.signal for run in runs})
    if baseline not in finished:
        raise UserError(
            f"the baseline {baseline} has no finished run; there are: {', '.join(finished)}"
        )
    widened = 1 - (1 - confidence) / max(1, len(finished) - 1)
    first = {run.seed: run for run in runs if run.signal == baseline}
    rows = []
    for signal in [baseline, *(name for name in finished if name != baseline)]:
        own = {run.seed: run for run in runs if run.signal == signal}
        cost = min(run.seconds_per_step for run in own.values())
        row: dict[str, Any] = {"signal": signal, "num_seeds": len(own), "seconds_per_step": cost}
        for column in measures:
            row |= _columns(
                column, estimate([run.after[column] for run in own.values()], confidence)
            )
            paired = [
                own[seed].after[column] - first[seed].after[column] for seed in own if seed in first
            ]
            difference = estimate(paired, widened) if paired else _NOTHING
            row |= _columns(f"{column}_difference", difference)
            row[f"{column}_verdict"] = "baseline" if signal == baseline else judge(difference)
        rows.append(row)
    return pd.DataFrame(rows)


def _columns(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def headline(table: pd.DataFrame, measures: Mapping[str, str], baseline: str) -> str:
    """Return in a sentence which signals beat the baseline, naming none that chance explains.

    Args:
        table: from `compare_signals`, with its verdicts.
        measures: the columns that are told.
        baseline: the signal that the others were compared with.
    """
    told: dict[str, list[str]] = {}
    for measure in measures:
        better = table.loc[table[f"{measure}_verdict"] == "better", "signal"].tolist()
        untold = (table[f"{measure}_verdict"] == ONE_SEED).any()
        if better:
            words = f"better than {baseline} beyond noise: {', '.join(better)}"
        elif untold:
            words = "one seed cannot tell a difference from chance"
        else:
            words = f"no signal is better than {baseline} beyond noise"
        told.setdefault(words, []).append(measure)
    return "; ".join(f"{' and '.join(names)}: {words}" for words, names in told.items()) + "."
