"""Candidates as a recipe declares them: whatever is wrong is said before anything runs."""

from copy import deepcopy
from functools import cache

import pytest
import yaml
from kedro.framework.project import configure_project

from dcr.errors import UserError
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.parameters import build_parameters
from dcr.settings import CONFIG_LOADER_ARGS
from project import PROJECT

CONF = PROJECT / "conf"
PHASES = {"two": [{"objective": "reconstruction"}, {"objective": "dcr", "max_train_steps": 5}]}


@cache
def load(env):
    configure_project("dcr")
    return RecipeConfigLoader(str(CONF), env=env, **CONFIG_LOADER_ARGS)["parameters"]


def build(*candidates, **changes):
    """Return the smoke recipe's sections with other candidates, and other values in its section
    `selection`.
    """
    parameters = deepcopy(load("smoke"))
    parameters["selection"] = parameters["selection"] | {"candidates": list(candidates)} | changes
    return build_parameters(parameters)


def apply(**candidate):
    sections = build({"name": "mine", **candidate})
    return sections["selection"].candidates[0].apply(sections["training"], sections["alignment"])


def test_a_recipe_has_its_own_candidates_and_not_those_of_the_recipe_that_it_extends():
    names = {
        recipe: [
            candidate.name for candidate in build_parameters(load(recipe))["selection"].candidates
        ]
        for recipe in ("demo", "smoke", "openai_vitl14_224")
    }
    own = yaml.safe_load((CONF / "smoke/parameters_selection.yml").read_text())["selection"][
        "candidates"
    ]
    assert names["smoke"] == [candidate["name"] for candidate in own]
    assert names["demo"]
    assert names["openai_vitl14_224"] == []


def test_a_candidate_is_the_recipe_but_for_its_values():
    training, alignment = apply(
        training={"method": "two", "phases": PHASES}, alignment={"form": "text"}
    )
    sections = build()
    assert alignment == sections["alignment"].model_copy(update={"form": "text"})
    assert training.method == "two"
    assert [phase.objective for phase in training.phases["two"]] == ["reconstruction", "dcr"]
    same = {"method", "phases"}
    assert training.model_dump(exclude=same) == sections["training"].model_dump(exclude=same)
    assert apply() == (sections["training"], sections["alignment"])


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (
            {"training": {"loss": {"temprature": 0.2}}},
            (
                r"unknown parameter 'selection\.candidates\.mine\.training\.loss\.temprature',"
                r" did you mean 'temperature'"
            ),
        ),
        (
            {"training": {"loss": {"temperature": -1}}},
            r"mine\.training\.loss\.temperature': .* greater than 0, got -1",
        ),
        (
            {"training": {"method": "two"}},
            r"'selection\.candidates\.mine\.training\.method': .*training\.phases",
        ),
        (
            {"training": {"method": "two", "phases": {"two": [{"objective": "dcr", "steps": 5}]}}},
            r"unknown parameter 'selection\.candidates\.mine\.training\.phases\.two\.0\.steps'",
        ),
        ({"alignment": {"form": "tekst"}}, r"'selection\.candidates\.mine\.alignment\.form'"),
        ({"evaluation": {"seed": 1}}, r"unknown parameter 'selection\.candidates\.0\.evaluation'"),
        (
            {"training": {"seed": 1}},
            r"'selection\.candidates\.mine\.training\.seed' is the recipe's alone",
        ),
        ({"training": {"baselines": []}}, r"training\.baselines' is the recipe's alone"),
        (
            {"training": {"stage1": {"max_train_steps": 1}}},
            r"training\.stage1' is the recipe's alone",
        ),
        ({"training": {"phases": ["two"]}}, r"'selection\.candidates\.mine\.training\.phases'"),
        ({"name": "base"}, r"'selection\.candidates\.0\.name'"),
        ({"name": "my recipe"}, r"'selection\.candidates\.0\.name'"),
    ],
    ids=[
        *(
            "unknown",
            "value",
            "method",
            "phase",
            "form",
            "section",
            "seed",
            "baselines",
            "stage1",
            "list",
            "base",
        ),
        "space",
    ],
)
def test_what_is_wrong_with_a_candidate_is_one_sentence_that_names_it(candidate, words):
    with pytest.raises(UserError, match=words):
        build({"name": "mine", **candidate})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": [7, 0]}, r"'selection\.seeds' holds 0, which the recipe is judged by"),
        ({"seeds": []}, r"'selection\.seeds'"),
        ({"seeds": [7, 7]}, r"'selection\.seeds': .*7 stands there twice"),
        ({"sets": ["more_sets"]}, r"'selection\.sets\.0'"),
        ({"improve": []}, r"'selection\.improve'"),
        (
            {"improve": [{"measure": "probes", "scale": 0.1}]},
            r"improve\.0\.measure'.*<benchmark>\.<metric>",
        ),
        (
            {"improve": [{"measure": "feature_drift.cka", "scale": 0.1}]},
            r"improve\.0\.measure'.*more is better",
        ),
        ({"improve": [{"measure": "probes.mean", "scale": 0.0}]}, r"improve\.0\.scale'"),
        ({"keep": [{"measure": "zero_shot.acc1", "loss": -0.1}]}, r"keep\.0\.loss'"),
        (
            {"keep": [{"measure": "zero_shot.acc1", "loss": 0.1}] * 2},
            r"keep': .*zero_shot\.acc1 stands there twice",
        ),
        ({"budget_hours": 0}, r"'selection\.budget_hours'"),
    ],
    ids=[
        "taken",
        "none",
        "twice",
        "sets",
        "nothing",
        "benchmark",
        "undirected",
        "scale",
        "gain",
        "double",
        "hours",
    ],
)
def test_what_is_wrong_with_the_search_is_one_sentence(changes, words):
    with pytest.raises(UserError, match=words):
        build({"name": "mine"}, **changes)


def test_two_candidates_of_one_name_are_refused():
    with pytest.raises(UserError, match=r"'selection\.candidates': .*mine stands there twice"):
        build({"name": "mine"}, {"name": "mine", "training": {"temperature": 0.2}})


def test_a_recipe_without_candidates_may_be_trained_with_any_seed():
    assert build(seeds=[0])["selection"].seeds == [0]
