"""Signals compared over seeds: paired, widened for their number, and no winner inside the noise."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dcr.errors import UserError
from dcr.sweep.comparison import SweepRun, compare_signals, gather_runs, headline, runs_table
from dcr.sweep.page import render_comparison
from measured import constant

MEASURES = {"P": "probes.mean", "D": "clustering.acc"}


def run_files(values):
    """Measurements and records of runs, from {(signal, seed): (P, D, seconds)}; no item makes a
    difference.
    """

    def of(p, d):
        return {"probes": {"mean": constant(p)}, "clustering": {"acc": constant(d)}}

    measured = {
        f"{signal}-{seed}": {"base": of(0.1, 0.1), "dcr": of(p, d)}
        for (signal, seed), (p, d, _) in values.items()
    }
    records = {
        f"{signal}-{seed}": {
            "runs": {"stage1": {"seconds": 9.0, "steps": 3}, "dcr": {"seconds": s, "steps": 10}}
        }
        for (signal, seed), (_, _, s) in values.items()
    }
    return measured, records


def table_of(values, confidence=0.95):
    runs = gather_runs(*run_files(values), MEASURES)
    return compare_signals(runs, ["P", "D"], "infonce", confidence).set_index("signal")


# Seeds differ far more than signals do: only pairing can see that dcl is better by 0.02 in P.
VALUES = {
    ("infonce", 0): (0.50, 0.30, 5.0),
    ("infonce", 1): (0.60, 0.40, 5.0),
    ("infonce", 2): (0.70, 0.50, 5.0),
    ("dcl", 0): (0.52, 0.33, 7.0),
    ("dcl", 1): (0.621, 0.35, 7.0),
    ("dcl", 2): (0.719, 0.52, 7.0),
    ("hn_nce", 0): (0.48, 0.25, 6.0),
    ("hn_nce", 1): (0.58, 0.42, 6.0),
    ("hn_nce", 2): (0.679, 0.44, 6.0),
}


def test_runs_are_gathered_with_the_methods_own_scores_and_cost():
    table = runs_table(gather_runs(*run_files(VALUES), MEASURES))
    row = table[(table["signal"] == "hn_nce") & (table["seed"] == 1)].iloc[0]
    assert (row["P"], row["D"], row["seconds_per_step"]) == (0.58, 0.42, 0.6)
    assert len(table) == 9


def test_a_method_in_phases_costs_what_its_phases_do():
    measured, records = run_files({("infonce", 0): (0.5, 0.3, 5.0)})
    records["infonce-0"]["runs"] |= {
        "dcr.1": {"seconds": 6.0, "steps": 30},
        "dcr.2": records["infonce-0"]["runs"].pop("dcr"),
    }
    (run,) = gather_runs(measured, records, MEASURES)
    assert run.seconds_per_step == 11.0 / 40


def test_differences_are_paired_and_widened_for_the_number_of_signals():
    table = table_of(VALUES)
    expected = stats.ttest_1samp([0.02, 0.021, 0.019], 0).confidence_interval(1 - 0.05 / 2)
    assert table.loc["dcl", "P_difference"] == pytest.approx(0.02)
    assert table.loc["dcl", "P_difference_low"] == pytest.approx(expected.low, abs=1e-6)
    assert table.loc["dcl", "P_difference_high"] == pytest.approx(expected.high, abs=1e-6)


def test_items_widen_the_interval_too():
    """The same answers but for those of one signal, which depend on the item."""
    measured, records = run_files(VALUES)
    generator = np.random.default_rng(0)
    for seed in range(3):
        metrics = measured[f"dcl-{seed}"]["dcr"]["probes"]
        noise = generator.normal(0, 0.02, size=20).astype(np.float32)
        metrics["mean"] = replace(metrics["mean"], replicates=metrics["mean"].replicates + noise)
    table = compare_signals(
        gather_runs(measured, records, MEASURES), ["P"], "infonce", 0.95
    ).set_index("signal")
    widths = [
        t.loc["dcl", "P_difference_high"] - t.loc["dcl", "P_difference_low"]
        for t in (table_of(VALUES), table)
    ]
    assert widths[1] > 2 * widths[0]


def test_a_signal_costs_what_its_fastest_run_took():
    values = VALUES | {("dcl", 1): (0.621, 0.35, 70.0)}
    assert table_of(values).loc["dcl", "seconds_per_step"] == 0.7


def test_the_baseline_stands_first():
    assert list(table_of(VALUES).index) == ["infonce", "dcl", "hn_nce"]


def test_verdicts_follow_the_interval():
    table = table_of(VALUES)
    assert table["P_verdict"].to_dict() == {
        "infonce": "baseline",
        "dcl": "better",
        "hn_nce": "worse",
    }
    assert table["D_verdict"].to_dict() == {
        "infonce": "baseline",
        "dcl": "within noise",
        "hn_nce": "within noise",
    }


def test_noise_has_no_winner():
    """Runs without any true difference: in a hundred sweeps of five signals false winners stay
    near 2.5.
    """
    generator, wins = np.random.default_rng(0), 0
    names = ["infonce", "a", "b", "c", "d", "e"]
    for _ in range(100):
        runs = [
            SweepRun(name, seed, {}, {"P": constant(value)}, 1.0)
            for name in names
            for seed, value in enumerate(generator.normal(size=3))
        ]
        wins += (compare_signals(runs, ["P"], "infonce", 0.95)["P_verdict"] == "better").any()
    assert wins <= 8


def test_one_seed_decides_nothing():
    table = table_of({key: value for key, value in VALUES.items() if key[1] == 0})
    assert table.loc["dcl", "P_verdict"] == "one seed"
    assert "one seed cannot tell" in headline(table.reset_index(), MEASURES, "infonce")


def test_a_seed_that_the_baseline_lacks_is_not_paired():
    values = {key: value for key, value in VALUES.items() if key != ("infonce", 2)}
    assert table_of(values).loc["dcl", "P_difference"] == pytest.approx((0.02 + 0.021) / 2)


def test_the_headline_names_winners_beyond_noise_alone():
    assert (
        headline(table_of(VALUES).reset_index(), MEASURES, "infonce")
        == "P: better than infonce beyond noise: dcl; D: no signal is better than infonce beyond"
        " noise."
    )


def test_measures_that_tell_the_same_are_told_together():
    values = {key: (0.5 + 0.01 * key[1], 0.3 + 0.01 * key[1], 1.0) for key in VALUES}
    assert (
        headline(table_of(values).reset_index(), MEASURES, "infonce")
        == "P and D: no signal is better than infonce beyond noise."
    )


def test_what_is_missing_is_named():
    measured, records = run_files(VALUES)
    with pytest.raises(UserError, match="no finished run"):
        gather_runs({}, {}, MEASURES)
    with pytest.raises(UserError, match=r"run dcl-0 has no probes\.top1"):
        gather_runs(measured, records, {"P": "probes.top1"})
    runs = gather_runs(measured, records, MEASURES)
    with pytest.raises(
        UserError, match="the baseline supcon has no finished run; there are: dcl, hn_nce, infonce"
    ):
        compare_signals(runs, ["P"], "supcon", 0.95)


def test_the_page_shows_every_signal_and_run_and_opens_offline():
    page = render_comparison(gather_runs(*run_files(VALUES), MEASURES), MEASURES, "infonce", 0.95)
    assert page.count('<th scope="row">') == 3 + 9
    assert "within noise" in page
    assert "0.700" in page
    assert "P 0.100, D 0.100" in page
    assert page.count("<svg") == 2 * 2
    assert "http://" not in page
    assert "https://" not in page
