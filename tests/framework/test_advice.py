"""Commands that users are told are true for their recipe."""

from pathlib import Path

from kedro.config import OmegaConfigLoader

from dcr.framework.advice import for_recipe, made_by
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"


def catalog_of(env):
    loader: OmegaConfigLoader = RecipeConfigLoader(str(CONF), env=env, **CONFIG_LOADER_ARGS)
    return loader["catalog"]


def test_a_recipe_that_renders_nothing_is_not_told_to():
    assert made_by("scenes", ["scenes", "validation"]) == "kedro run --pipelines scenes"
    assert made_by("scenes", ["validation", "training"]) is None
    assert (
        made_by("scenes_validation", ["scenes"], "scenes")
        == "kedro run --pipelines scenes_validation"
    )
    assert made_by("scenes_validation", ["training"], "scenes") is None


def test_the_demo_is_told_to_render_its_world_and_recipes_on_photographs_are_not():
    for name in ("shards", "mmvp_vlm", "classification", "retrieval", "backbone"):
        assert catalog_of("smoke")[name]["made_by"] == "kedro run --pipelines scenes"
        assert catalog_of("openai_vitl14_224")[name]["made_by"] is None


def test_commands_name_the_recipe_of_the_run():
    told = (
        "x; make it with `kedro run --pipelines latents` or `kedro run --env other --pipelines a`"
    )
    assert (
        for_recipe(told, "mine")
        == "x; make it with `kedro run --env mine --pipelines latents` or `kedro run --env other"
        " --pipelines a`"
    )
    assert for_recipe(told, None) == told
