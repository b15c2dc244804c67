"""Numbers as words: percent, points, signs; and the gates."""

import pytest

import finished_run
from dcr.reporting import numbers, tables
from dcr.reporting.method_tables import build_method_table
from dcr.reporting.methods import Methods
from measured import comparison


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.014, "+1.4"),
        (-0.0314, "−3.1"),
        (0.0, "0.0"),
        (-0.0004, "0.0"),
        (0.0004, "0.0"),
        (float("nan"), "–"),
    ],
)
def test_a_difference_carries_its_sign_unless_it_rounds_to_zero(value, shown):
    assert numbers.show_difference(value) == shown


def test_what_is_no_share_is_shown_as_it_is():
    assert numbers.show_value(0.2345) == "23.4"
    assert numbers.show_value(0.2345, is_share=False) == "0.234"
    assert numbers.show_interval((0.1, 0.25)) == "10.0 to 25.0"


def test_the_plot_of_a_difference_keeps_every_interval_on_the_line_with_zero_in_the_middle():
    (table,) = tables.build_benchmark_tables(
        [
            comparison("clustering.acc", *of)
            for of in ((0.5, 0.6, (0.05, 0.2)), (0.5, 0.5, (-0.1, 0.1)))
        ]
    )
    first, second = (row["plot"] for row in table["rows"])
    assert (first["low"], first["middle"], first["high"]) == (61.5, 73.0, 96.0)
    assert (second["low"], second["middle"], second["high"]) == (27.0, 50.0, 73.0)


def test_each_benchmark_has_its_own_table_and_its_mean_stands_out():
    found = [
        comparison(key, 0.4, 0.5) for key in ("mmvp_vlm.mean", "mmvp_vlm.Texts", "clustering.acc")
    ]
    first, second = tables.build_benchmark_tables(found)
    assert (first["name"], second["name"]) == ("MMVP-VLM", "Clustering")
    assert [row["is_summary"] for row in first["rows"]] == [True, False]


def test_the_method_table_has_one_column_a_method_and_a_gap_where_one_was_not_evaluated():
    scores = {
        "base": {"clustering": {"acc": 0.5}, "probes": {"mean": 0.6, "color": 0.7}},
        "dcr": {},
        "naive": {},
    }
    found = {
        "dcr": [
            comparison("clustering.acc", 0.5, 0.6, (0.05, 0.15)),
            comparison("probes.mean", 0.6, 0.6),
        ],
        "naive": [comparison("clustering.acc", 0.5, 0.4, (-0.2, -0.05))],
    }
    seeds = {"base": ["base"], "dcr": ["dcr", "dcr@1", "dcr@2"], "naive": ["naive"]}
    table = build_method_table(Methods("base", "dcr", scores, seeds, scores, {}, found, {}, {}))
    assert table["methods"] == [
        {"name": "DCR", "seeds": "3 seeds"},
        {"name": "Naive sum", "seeds": ""},
    ]
    assert [row["name"] for row in table["rows"]] == ["clustering ACC", "attribute probes"]
    assert [cell["verdict"] for cell in table["rows"][0]["cells"]] == ["better", "worse"]
    assert table["rows"][0]["cells"][0]["interval"] == "+5.0 to +15.0"
    assert table["rows"][1]["cells"][1] is None


def test_costs_are_compared_by_step_within_the_second_stage():
    rows = {
        row["name"]: row for row in tables.build_cost_table(finished_run.training_record()["runs"])
    }
    assert rows["Reconstruction"]["relative"] == "1.0×"
    assert rows["DCR"]["relative"] == f"{41.7 / 7.4:.1f}×"
    assert rows["Stage 1: projector"]["relative"] == ""
    assert rows["Stage 1: projector"]["objective"] == "Reconstruction"


def test_gates_hold_only_in_the_right_order():
    unet, projector = tables.build_gates(
        finished_run.base_models_record(), finished_run.conditions()
    )
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
    assert (
        tables.flatten_parameters({"plain": plain, "training": dict(reversed(training.items()))})
        == rows
    )
