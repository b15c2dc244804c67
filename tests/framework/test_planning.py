"""`kedro plan`: a recipe in its folder becomes tables or JSON."""

import json
from pathlib import Path

import pytest
import yaml
from kedro.framework.project import configure_project

from dcr.errors import UserError
from dcr.framework.planning import tell_plan
from project import PROJECT, run

CONF = PROJECT / "conf"


@pytest.fixture(autouse=True)
def _project():
    configure_project("dcr")


def write_recipe(folder: Path, text: str) -> Path:
    """Write a folder of recipes with one of its own, beside the project's base."""
    (folder / "own").mkdir()
    (folder / "own" / "globals.yml").write_text(text)
    for name in ("base", "demo", "smoke"):
        (folder / name).symlink_to(CONF / name)
    return folder


def test_json_has_every_number_of_the_smallest_recipe():
    plan = json.loads(tell_plan("smoke", str(CONF), {}, as_json=True))
    assert plan["recipe"] == "smoke"
    assert plan["num_images"] == 64
    assert [run["name"] for run in plan["runs"]][:3] == ["stage1", "dcr.1", "dcr.2"]
    assert plan["hours"].keys() == plan["latents_hours"].keys()


def test_params_take_the_place_of_the_recipes():
    params = {"plan": {"num_images": 7}, "training": {"baselines": [], "stage2_seeds": []}}
    plan = json.loads(tell_plan("smoke", str(CONF), params, as_json=True))
    assert plan["latents"]["num_crops"] == 7
    assert [run["name"] for run in plan["runs"]] == ["stage1", "dcr.1", "dcr.2"]


@pytest.mark.parametrize("recipe", ["demo", "smoke"])
def test_images_of_the_rendered_world_are_those_that_are_rendered(recipe):
    own, scenes = CONF / recipe / "parameters_plan.yml", CONF / "base" / "parameters_scenes.yml"
    if (CONF / recipe / "parameters_scenes.yml").is_file():
        scenes = CONF / recipe / "parameters_scenes.yml"
    drawn = yaml.safe_load(scenes.read_text())["scenes"]["num_train_images"]
    assert yaml.safe_load(own.read_text())["plan"]["num_images"] == drawn


def test_a_recipe_that_trains_nothing_is_one_sentence():
    with pytest.raises(UserError, match="recipe ledger trains nothing"):
        tell_plan("ledger", str(CONF), {}, as_json=False)


def test_a_model_that_is_neither_here_nor_known_is_one_sentence(tmp_path):
    text = "recipe: own\nextends: smoke\npipelines: [training]\nbackbone: acme/clip-huge\n"
    with pytest.raises(UserError, match="kedro run --env <recipe> --pipelines models"):
        tell_plan("own", str(write_recipe(tmp_path, text)), {}, as_json=False)


def test_the_command_prints_tables_and_exits_with_0():
    result = run("kedro", "plan", "--env", "smoke", cwd=PROJECT)
    assert "GPU-hours, at 40% of each card's dense peak:" in result.stdout
    assert "dcr.2 (each of 2 seeds)" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["demo", "openai_vitl14_224", "siglip_so400m_384"])
def test_so_it_does_for_larger_recipes(recipe):
    result = run("kedro", "plan", "--env", recipe, cwd=PROJECT)
    assert result.stdout.startswith(f"{recipe}: ")
