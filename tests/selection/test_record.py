"""What a search came to, in figures and in words, and what a recipe that keeps it says of
itself.
"""

import json

import pytest

from dcr.parameters import AlignmentParameters, TrainingParameters, build_parameters
from dcr.selection.record import check_recipe, tabulate_scores, tell_selection
from project import PROJECT
from selected import BASE, BOTH, DETAIL, GREEDY, alignment, outcome, outcomes, record
from training_world import parameters


@pytest.fixture(scope="module")
def three():
    return outcomes()


def test_a_record_says_what_was_chosen_and_why(three):
    made = record(three, budget_hours=0.5)
    assert (made["chosen"], made["keeps_all"]) == ("both", True)
    assert (
        made["why"]
        == "Of 3 candidates 2 keep what the rule asks for; of these both has the largest smallest"
        " gain: clustering ACC +2.0 points, 1.00 times its scale of 2.00."
    )
    assert made["hours"] == {"spent": 0.3, "budget": 0.5}
    assert made["setting"] == three["both"]["setting"]
    greedy = made["candidates"]["greedy"]
    assert greedy["violations"] == {"zero_shot.acc1": pytest.approx(0.01)}
    assert greedy["smallest_gain"] == pytest.approx(2.5)
    assert greedy["limited_by"] == "clustering.acc"


def test_measures_stand_with_their_seeds_their_interval_and_the_base_aligned_alike(three):
    made = record(three)
    found = made["candidates"]["greedy"]["measures"]["probes.mean"]
    assert found["before"]["value"] == pytest.approx(BASE["probes.mean"])
    assert found["difference"]["value"] == pytest.approx(GREEDY["probes.mean"])
    assert found["difference"]["low"] < GREEDY["probes.mean"] < found["difference"]["high"]
    assert found["seeds"] == {"7": pytest.approx(0.66), "8": pytest.approx(0.64)}
    assert found["base_aligned"] == pytest.approx(BASE["probes.mean"] + 0.005)
    assert made["candidates"]["both"]["measures"]["probes.mean"]["base_aligned"] is None


def test_that_no_candidate_holds_the_rule_is_said():
    made = record(
        {"greedy": outcome(1, GREEDY), "worse": outcome(2, GREEDY | {"zero_shot.acc1": -0.05})}
    )
    assert (made["chosen"], made["keeps_all"]) == ("greedy", False)
    assert (
        made["why"]
        == "None of 2 candidates keeps what the rule asks for; greedy exceeds it the least, by 1.00"
        " points of zero-shot accuracy."
    )


def test_settings_that_were_tried_before_count_once_each(three):
    dropped = [outcome(4, BOTH), outcome(5, BOTH)]
    assert record(three)["num_settings_tried"] == 3
    assert record(three, before=(*dropped, outcome(1, DETAIL)))["num_settings_tried"] == 5


def test_scores_for_the_figure_are_those_of_the_candidates_and_of_their_seeds(three):
    scores, intervals, encoders = tabulate_scores(three)
    assert list(scores) == list(intervals) == ["base", "both", "detail", "greedy"]
    assert scores["base"]["probes"]["mean"] == pytest.approx(BASE["probes.mean"])
    assert scores["detail"]["probes"]["mean"] == pytest.approx(
        BASE["probes.mean"] + DETAIL["probes.mean"]
    )
    low, high = intervals["detail"]["probes"]["mean"]
    assert low < scores["detail"]["probes"]["mean"] < high
    assert set(encoders) == {"base", *(f"{name}@{seed}" for name in three for seed in (7, 8))}
    assert encoders["both@8"]["clustering"]["acc"] == pytest.approx(0.51)


class TestARecipeThatKeepsIt:
    def test_says_how_many_settings_were_tried_by_which_rule_and_which_was_chosen(self, three):
        told = tell_selection(record(three), parameters(**{"loss.temperature": 0.1}), alignment())
        assert told == [
            (
                "3 settings were tried on validation data, each with 2 seeds that this page does"
                " not show; the rule was declared before. The largest smallest gain over the base"
                " counts, of attribute probes in units of 1.00 points and clustering ACC in units"
                " of 2.00 points, among settings that lose at most 1.00 points of zero-shot"
                " accuracy."
            ),
            f"Chosen was both. {record(three)['why']}",
        ]

    def test_says_where_it_is_not_what_was_chosen(self, three):
        made = record(three)
        assert (
            check_recipe(
                made, parameters(**{"loss.temperature": 0.1}, seed=5, stage2_seeds=[6]), alignment()
            )
            == []
        )
        assert check_recipe(made, parameters(**{"loss.temperature": 0.3}), alignment()) == [
            "loss.temperature 0.3 instead of 0.1"
        ]
        told = tell_selection(made, parameters(**{"loss.temperature": 0.1}), alignment(form="text"))
        assert (
            told[-1] == "This run is not of that setting: alignment.form 'text' instead of 'none'."
        )

    def test_without_it_nothing_is_said(self):
        assert tell_selection({}, parameters(), alignment()) == []


@pytest.mark.parametrize(
    "path", sorted(PROJECT.glob("conf/*/selection.json")), ids=lambda path: path.parent.name
)
def test_every_recipe_that_keeps_the_outcome_of_a_search_is_what_was_chosen(path):
    from kedro.framework.project import configure_project

    from dcr.framework.config_loader import RecipeConfigLoader
    from dcr.settings import CONFIG_LOADER_ARGS

    configure_project("dcr")
    loader = RecipeConfigLoader(str(PROJECT / "conf"), env=path.parent.name, **CONFIG_LOADER_ARGS)
    sections = build_parameters(loader["parameters"])
    training, aligned = sections["training"], sections["alignment"]
    assert isinstance(training, TrainingParameters)
    assert isinstance(aligned, AlignmentParameters)
    assert check_recipe(json.loads(path.read_text()), training, aligned) == []
