"""What a setting is, when a recipe is of it, and what a candidate may not change."""

import json

import pytest
import yaml

from dcr.errors import UserError
from dcr.parameters import AlignmentParameters
from dcr.selection.search import check_stage1
from dcr.selection.setting import compare_settings, describe_setting
from project import PROJECT
from training_world import parameters

TWO = [
    {"objective": "reconstruction", "max_train_steps": 3},
    {"objective": "dcr", "max_train_steps": 2},
]


def alignment(**changes):
    path = PROJECT / "conf/base/parameters_alignment.yml"
    return AlignmentParameters(**yaml.safe_load(path.read_text())["alignment"] | changes)


def describe(**changes):
    """Return a setting after a way through JSON, as a record keeps it."""
    form = {"form": changes.pop("form")} if "form" in changes else {}
    return json.loads(json.dumps(describe_setting(parameters(**changes), alignment(**form))))


def test_names_seeds_and_other_methods_are_no_part_of_a_setting():
    own = describe(method="dcr", phases={"dcr": TWO})
    assert [phase["objective"] for phase in own["stage2"]] == ["reconstruction", "dcr"]
    assert [phase["stage2.max_train_steps"] for phase in own["stage2"]] == [3, 2]
    assert own == describe(
        method="another",
        phases={"another": TWO, "third": TWO[:1]},
        baselines=["naive"],
        seed=5,
        stage2_seeds=[6],
    )


def test_a_phase_of_the_recipes_own_numbers_is_the_recipe_without_phases():
    written = {"objective": "dcr", "max_train_steps": 6, "temperature": 0.1}
    assert (
        compare_settings(describe(method="dcr"), describe(method="dcr", phases={"dcr": [written]}))
        == []
    )


def test_whatever_changes_the_encoder_is_named():
    chosen = describe(method="dcr", phases={"dcr": TWO}, form="text")

    def differences(**changes):
        return compare_settings(
            chosen, describe(**{"method": "dcr", "phases": {"dcr": TWO}, "form": "text"} | changes)
        )

    assert differences() == []
    longer = [TWO[0], TWO[1] | {"max_train_steps": 4}]
    assert differences(phases={"dcr": longer}) == [
        "stage2.max_train_steps 4 instead of 2 in phase 2"
    ]
    assert differences(phases={"dcr": TWO[:1]}) == ["1 phases of stage 2 instead of 2"]
    assert differences(**{"tuning.lora.rank": 8}) == [
        f"tuning.lora.rank 8 instead of 16 in phase {number}" for number in (1, 2)
    ]
    assert differences(**{"stage1.max_train_steps": 7})
    assert differences(form="none") == ["alignment.form 'none' instead of 'text'"]
    assert differences(method="end_to_end")


def test_how_a_run_is_walked_and_what_came_later_makes_no_difference():
    chosen = describe()
    assert (
        compare_settings(
            chosen,
            describe(
                **{
                    "execution.num_workers": 2,
                    "monitoring.report_to": ["tensorboard"],
                    "checkpoints.every_steps": 7,
                }
            ),
        )
        == []
    )
    assert (
        compare_settings(chosen, chosen | {"stage2": [chosen["stage2"][0] | {"a_later_lever": 1}]})
        == []
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"condition": "patch_tokens"}, "condition"),
        ({"optimizer.beta1": 0.8}, "optimizer.beta1"),
        ({"batches.timestep_min": 0.2}, "batches.timestep_min"),
    ],
)
def test_what_stage_1_depends_on_is_not_a_candidates(changes, named):
    with pytest.raises(UserError, match=rf"candidates\.mine\.training changes .*{named}.* stage 1"):
        check_stage1("mine", parameters(**changes), parameters())


def test_what_stage_1_does_not_depend_on_is_a_candidates():
    free = {
        "method": "two",
        "phases": {"two": TWO},
        "loss.temperature": 0.2,
        "stage2.learning_rate": 0.5,
        "tuning.lora.rank": 4,
        "tuning.mode": "full",
        "batches.num_views": 2,
        "loss.base_embedding_weight": 1.0,
        "views.hue": 0.1,
    }
    check_stage1("mine", parameters(**free), parameters())
