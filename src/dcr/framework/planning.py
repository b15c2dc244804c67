"""`kedro plan`: a recipe's cost, from its parameters and the shapes of its models alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from kedro.framework.project import settings

from dcr.errors import UserError
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.framework.home import conf_folder
from dcr.parameters import (
    LatentsParameters,
    PlanParameters,
    PretrainingParameters,
    TrainingParameters,
    build_parameters,
)

_MAKER = "scenes"


def tell_plan(
    env: str | None, conf_source: str | None, params: dict[str, Any], as_json: bool
) -> str:
    """Return what a recipe takes, as tables or as JSON.

    Args:
        env: the recipe's folder, None for the demo.
        conf_source: the folder with the recipes, None for that of the project.
        params: as ``--params`` gives them, nested.
        as_json: whether to return JSON, in bytes, operations and hours.

    Raises:
        UserError: the recipe trains nothing, or its models are neither here nor known.
    """
    name = env or settings.CONFIG_LOADER_ARGS["default_run_env"]
    conf = str(conf_folder(conf_source))
    loader = RecipeConfigLoader(conf, name, params, **settings.CONFIG_LOADER_ARGS)
    known = loader.check_recipe()
    sections = build_parameters(loader["parameters"])
    if "training" not in known.pipelines:
        raise UserError(
            f"recipe {known.recipe} trains nothing, so there is nothing to plan: name a recipe with"
            " training among its `pipelines`"
        )
    plan = _plan(sections, known.pipelines, known.backbone, known.diffusion)
    if as_json:
        return json.dumps({"recipe": known.recipe, **asdict(plan)}, indent=1)
    from dcr.planning.tables import as_text

    return as_text(known.recipe, plan)


def _plan(sections: dict[str, Any], pipelines: list[str], backbone: str, diffusion: str) -> Any:
    """Return the plan of a recipe, by the models that it names, or trains itself."""
    from dcr.planning.outlines import outlines, outlines_of_pretraining
    from dcr.planning.recipe import plan_recipe

    training, latents = sections["training"], sections["latents"]
    assumed, pretraining = sections["plan"], sections["pretraining"]
    assert isinstance(training, TrainingParameters)
    assert isinstance(latents, LatentsParameters)
    assert isinstance(assumed, PlanParameters)
    assert isinstance(pretraining, PretrainingParameters)
    own = _MAKER in pipelines
    models = outlines_of_pretraining(pretraining) if own else outlines(backbone, diffusion)
    return plan_recipe(training, latents, assumed, models)
