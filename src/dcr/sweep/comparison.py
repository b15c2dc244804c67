"""Signals compared over seeds: no difference counts that chance explains.

Every signal has a run with each seed, and runs of one seed share data order, noise and first weights. So signals are
compared with the baseline seed by seed, by Student's t over the paired differences; with S signals beside the baseline
each interval is widened to 1 - (1 - confidence) / S (Bonferroni), so that a false winner among all of them is as rare
as in one comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dcr.encoder_names import split_run
from dcr.errors import UserError
from dcr.metrics.runs import spread_over_runs


def gather_runs(
    scores: Mapping[str, dict[str, Any]], records: Mapping[str, dict[str, Any]], measures: Mapping[str, str]
) -> pd.DataFrame:
    """Return one row a run: ``signal``, ``seed``, each measure, ``seconds_per_step``; and ``<measure>_before``.

    Before is the base encoder, which is the same in all runs.

    Args:
        scores: of each run, {encoder: {benchmark: {metric: value}}}, by ``<signal>-<seed>``.
        records: what each run's training cost, by the same names.
        measures: column to ``<benchmark>.<metric>``.

    Raises:
        UserError: there is no run, or one lacks a measure.
    """
    if not scores:
        raise UserError(
            "there is no finished run to compare; make them with "
            "`kedro make-dvc --env sweep` and `dvc repro stages/sweep/dvc.yaml`"
        )
    rows = []
    for name in sorted(scores):
        signal, _, seed = name.rpartition("-")
        method = next((encoder for encoder in scores[name] if encoder != "base"), None)
        row: dict[str, Any] = {"signal": signal, "seed": int(seed)}
        for column, measure in measures.items():
            benchmark, _, metric = measure.partition(".")
            try:
                row[column] = scores[name][method][benchmark][metric]
                row[f"{column}_before"] = scores[name]["base"][benchmark][metric]
            except KeyError as exc:
                raise UserError(f"run {name} has no {measure}; name a measure of scores.json in `sweep`") from exc
        phases = [run for key, run in records[name]["runs"].items() if split_run(key)[0] == method]
        seconds, steps = (sum(run[key] for run in phases) for key in ("seconds", "steps"))
        rows.append({**row, "seconds_per_step": seconds / steps})
    return pd.DataFrame(rows)


def compare_signals(runs: pd.DataFrame, measures: list[str], baseline: str, confidence: float) -> pd.DataFrame:
    """Return one row a signal, the baseline's first: number of seeds, cost, and per measure mean, interval and verdict.

    The cost is that of the fastest run, which other work on the machine disturbed least.

    Columns of measure m: ``m``, ``m_low``, ``m_high`` (interval of the mean over seeds), ``m_difference`` to the
    baseline with ``m_difference_low`` and ``m_difference_high``, and ``m_verdict``: ``baseline``, ``better``,
    ``worse``, ``within noise``, or ``one seed`` where chance cannot be told.

    Raises:
        UserError: the baseline has no run.
    """
    finished = sorted(set(runs["signal"]))
    if baseline not in finished:
        raise UserError(f"the baseline {baseline} has no finished run; there are: {', '.join(finished)}")
    others = len(finished) - 1
    rows = []
    for signal in [baseline, *(name for name in finished if name != baseline)]:
        own = runs[runs["signal"] == signal]
        row = {"signal": signal, "num_seeds": len(own), "seconds_per_step": own["seconds_per_step"].min()}
        base = runs[runs["signal"] == baseline].set_index("seed")
        for measure in measures:
            spread = spread_over_runs(own[measure], confidence)
            row |= {measure: spread.mean, f"{measure}_low": spread.interval[0], f"{measure}_high": spread.interval[1]}
            paired = own.set_index("seed")[measure] - base[measure]
            mean, bounds = _difference(paired.dropna(), 1 - (1 - confidence) / max(1, others))
            row |= {
                f"{measure}_difference": mean,
                f"{measure}_difference_low": bounds[0],
                f"{measure}_difference_high": bounds[1],
                f"{measure}_verdict": "baseline" if signal == baseline else _verdict(*bounds),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _difference(paired: pd.Series, confidence: float) -> tuple[float, tuple[float, float]]:
    """Return mean and interval of the differences; NaN where the two share no seed."""
    if paired.empty:
        return np.nan, (np.nan, np.nan)
    spread = spread_over_runs(paired, confidence)
    return spread.mean, spread.interval


def _verdict(low: float, high: float) -> str:
    if np.isnan(low):
        return "one seed"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "within noise"


def headline(table: pd.DataFrame, measures: Mapping[str, str], baseline: str) -> str:
    """Return in a sentence which signals beat the baseline, naming none that chance explains."""
    told: dict[str, list[str]] = {}
    for measure in measures:
        better = table.loc[table[f"{measure}_verdict"] == "better", "signal"].tolist()
        untold = (table[f"{measure}_verdict"] == "one seed").any()
        if better:
            words = f"better than {baseline} beyond noise: {', '.join(better)}"
        elif untold:
            words = "one seed cannot tell a difference from chance"
        else:
            words = f"no signal is better than {baseline} beyond noise"
        told.setdefault(words, []).append(measure)
    return "; ".join(f"{' and '.join(names)}: {words}" for words, names in told.items()) + "."
