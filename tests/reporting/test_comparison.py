"""Verdicts and the headline: what may be called better, worse, or nothing at all."""

import numpy as np
import pandas as pd
import pytest

from dcr.errors import UserError
from dcr.metrics.bootstrap import Bootstrap
from dcr.reporting.comparison import Comparison, compare, headline, pair_outcomes, select

BOOTSTRAP = Bootstrap(num_resamples=500, confidence=0.95, seed=0)


def comparison(key, before, after, interval, before_interval=None, after_interval=None):
    benchmark, _, metric = key.partition(".")
    return Comparison(benchmark, metric, before, after, before_interval or (0, 1), after_interval or (0, 1), interval)


def outcomes(**answers):
    """Outcomes of one benchmark `zero_shot`: a list of 0 and 1 by encoder."""
    rows = [
        (encoder, "zero_shot", f"{item}", "fish", float(correct))
        for encoder, values in answers.items()
        for item, correct in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["encoder", "benchmark", "item", "group", "correct"])


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.01, 0.1), "better"),
        ((-0.1, -0.01), "worse"),
        ((-0.01, 0.1), "within noise"),
        ((0.0, 0.1), "within noise"),
        ((0.0, 0.0), "within noise"),
    ],
)
def test_a_difference_counts_only_when_its_interval_leaves_out_zero(interval, verdict):
    assert comparison("clustering.acc", 0.5, 0.55, interval).verdict == verdict


@pytest.mark.parametrize(
    ("after_interval", "verdict"), [((0.61, 0.7), "better"), ((0.5, 0.59), "within noise"), ((0.3, 0.39), "worse")]
)
def test_without_items_in_common_the_two_intervals_must_be_disjoint(after_interval, verdict):
    found = comparison("clustering.nmi", 0.5, 0.5, None, before_interval=(0.4, 0.6), after_interval=after_interval)
    assert found.verdict == verdict


def test_a_distance_is_higher_or_lower_never_better():
    assert comparison("text_alignment.modality_gap", 0.5, 0.7, (0.1, 0.3)).verdict == "higher"
    assert comparison("text_alignment.modality_gap", 0.7, 0.5, (-0.3, -0.1)).verdict == "lower"


def test_answers_are_paired_by_item_so_that_a_small_sure_change_is_seen():
    hard = np.arange(400) % 2
    after = hard.copy()
    after[:40:2] = 1  # 20 items gained, none lost
    scores = {e: {"zero_shot": {"acc1": v.mean()}} for e, v in (("base", hard), ("dcr", after))}
    intervals = {e: {"zero_shot": {"acc1": [0.4, 0.6]}} for e in scores}
    (found,) = compare(scores, intervals, outcomes(base=hard, dcr=after), "base", "dcr", BOOTSTRAP)
    assert found.difference == pytest.approx(0.05)
    assert found.verdict == "better"  # although the two encoders' own intervals overlap
    standard_error = np.sqrt(0.05 * 0.95 / 400)
    assert found.interval == pytest.approx((0.05 - 1.96 * standard_error, 0.05 + 1.96 * standard_error), abs=0.006)


def test_items_that_stand_in_every_group_are_drawn_once_with_all_their_answers():
    answers = np.random.default_rng(0).random(200) < 0.5
    rows = [
        (encoder, "probes", str(item), detail, float(correct and encoder == "dcr"))
        for encoder in ("base", "dcr")
        for detail in ("count", "color")  # both details of an item are answered alike
        for item, correct in enumerate(answers)
    ]
    table = pd.DataFrame(rows, columns=["encoder", "benchmark", "item", "group", "correct"])
    values = {"mean": answers.mean(), "count": answers.mean(), "color": answers.mean()}
    scores = {"base": {"probes": dict.fromkeys(values, 0.0)}, "dcr": {"probes": values}}
    intervals = {e: {"probes": dict.fromkeys(values, (0, 1))} for e in scores}
    mean, count, _ = compare(scores, intervals, table, "base", "dcr", BOOTSTRAP)
    assert mean.interval == pytest.approx(count.interval)  # twice the answers, not twice the items


def test_only_items_that_both_encoders_answered_are_paired():
    table = outcomes(base=[1, 0, 1], dcr=[1, 1])
    assert pair_outcomes(table, "zero_shot", "base", "dcr").to_numpy().tolist() == [
        ["0", "fish", 1, 1],
        ["1", "fish", 0, 1],
    ]


def test_an_encoder_without_scores_is_named_with_the_step_that_makes_them():
    with pytest.raises(UserError, match=r"encoder 'naive' are missing \(there are base\); run `kedro run"):
        compare({"base": {}}, {"base": {}}, outcomes(), "base", "naive", BOOTSTRAP)


def test_the_headline_names_gains_losses_and_noise_with_their_size():
    found = [
        comparison("clustering.acc", 0.617, 0.763, (0.1, 0.2)),
        comparison("probes.mean", 0.669, 0.671, (-0.01, 0.01)),
        comparison("mmvp_vlm.mean", 0.4, 0.4, (-0.1, 0.1)),
        comparison("zero_shot.acc1", 0.929, 0.898, (-0.05, -0.01)),
    ]
    assert headline("DCR", found) == (
        "DCR raised clustering ACC by 14.6 points and lowered zero-shot accuracy by 3.1 points; "
        "attribute probes and MMVP-VLM moved within noise."
    )
    assert headline("DCR", found[3:]) == "DCR lowered zero-shot accuracy by 3.1 points."
    assert headline("DCR", found[1:3]) == (
        "DCR moved attribute probes and MMVP-VLM within noise: no difference from the base encoder can be claimed."
    )
    assert headline("DCR", []) == "DCR and the base encoder have no measure in common."


def test_measures_are_selected_in_the_order_asked_for_and_absent_ones_left_out():
    found = [comparison("a.x", 0, 0, None), comparison("b.y", 0, 0, None)]
    assert [c.key for c in select(found, ["b.y", "c.z", "a.x"])] == ["b.y", "a.x"]
