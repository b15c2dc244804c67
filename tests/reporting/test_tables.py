"""Numbers as words: percent, points, signs; and the gates."""

import pytest

import finished_run
from dcr.reporting import tables
from dcr.reporting.comparison import Comparison


def comparison(before, after, interval=(-1, 1), benchmark="clustering", metric="acc"):
    return Comparison(benchmark, metric, before, after, (before, before), (after, after), interval)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.014, "+1.4"), (-0.0314, "−3.1"), (0.0, "0.0"), (-0.0004, "0.0"), (0.0004, "0.0"), (float("nan"), "–")],
)
def test_a_difference_carries_its_sign_unless_it_rounds_to_zero(value, shown):
    assert tables.show_difference(value) == shown


def test_what_is_no_share_is_shown_as_it_is():
    assert tables.show_value(0.2345) == "23.4"
    assert tables.show_value(0.2345, is_share=False) == "0.234"
    assert tables.show_interval((0.1, 0.25)) == "10.0 to 25.0"


def test_the_plot_of_a_difference_keeps_every_interval_on_the_line_with_zero_in_the_middle():
    (table,) = tables.build_benchmark_tables([comparison(0.5, 0.6, (0.05, 0.2)), comparison(0.5, 0.5, (-0.1, 0.1))])
    first, second = (row["plot"] for row in table["rows"])
    assert (first["low"], first["middle"], first["high"]) == (61.5, 73.0, 96.0)
    assert (second["low"], second["middle"], second["high"]) == (27.0, 50.0, 73.0)


def test_each_benchmark_has_its_own_table_and_its_mean_stands_out():
    found = [comparison(0.4, 0.5, benchmark="mmvp_vlm", metric=m) for m in ("mean", "Texts")] + [comparison(0.5, 0.6)]
    first, second = tables.build_benchmark_tables(found)
    assert (first["name"], second["name"]) == ("MMVP-VLM", "Clustering")
    assert [row["is_summary"] for row in first["rows"]] == [True, False]


def test_the_method_table_has_one_column_a_method_and_a_gap_where_one_was_not_evaluated():
    scores = {"base": {"clustering": {"acc": 0.5}, "probes": {"mean": 0.6, "color": 0.7}}}
    found = {
        "dcr": [comparison(0.5, 0.6, (0.05, 0.15)), comparison(0.6, 0.6, benchmark="probes", metric="mean")],
        "naive": [comparison(0.5, 0.4, (-0.2, -0.05))],
    }
    table = tables.build_method_table(scores, found, "base")
    assert table["methods"] == ["DCR", "Naive sum"]
    assert [row["name"] for row in table["rows"]] == ["clustering ACC", "attribute probes"]
    assert [cell["verdict"] for cell in table["rows"][0]["cells"]] == ["better", "worse"]
    assert table["rows"][1]["cells"][1] is None


def test_costs_are_compared_by_step_within_the_second_stage():
    rows = {row["name"]: row for row in tables.build_cost_table(finished_run.training_record()["runs"])}
    assert rows["Reconstruction"]["relative"] == "1.0×"
    assert rows["DCR"]["relative"] == f"{41.7 / 7.4:.1f}×"
    assert rows["Stage 1: projector"]["relative"] == ""
    assert rows["Stage 1: projector"]["objective"] == "Reconstruction"


def test_gates_hold_only_in_the_right_order():
    unet, projector = tables.build_gates(finished_run.base_models_record(), finished_run.conditions())
    assert unet["holds"]
    assert projector["holds"]
    wrong = {"unet": {"true_caption": 0.4, "empty_prompt": 0.4, "wrong_caption": 0.5}}
    assert not tables.build_gates(wrong, {})[0]["holds"]
    overdriven = {"projector": {"empty_prompt": 0.4, "before": 0.5, "after": 0.41}}
    assert not tables.build_gates({}, overdriven)[0]["holds"]


def test_a_recipe_whose_models_were_not_trained_here_has_no_gate_for_them():
    assert len(tables.build_gates({}, finished_run.conditions())) == 1


def test_parameters_are_listed_by_dotted_name_whatever_order_their_files_were_read_in():
    training, plain = {"seed": 0, "baselines": ["naive"]}, 1
    rows = [("plain", "1"), ("training.baselines", "['naive']"), ("training.seed", "0")]
    assert tables.flatten_parameters({"training": training, "plain": plain}) == rows
    assert tables.flatten_parameters({"plain": plain, "training": dict(reversed(training.items()))}) == rows
