"""`kedro make-dvc`: a recipe's pipelines as DVC's stages.

Everything comes from what Kedro knows already: inputs and outputs from the pipelines, paths from
the catalog, sources from the imports. The repository's own dvc.yaml is written in this way, and
tests compare the two.
"""

from __future__ import annotations

from os.path import relpath
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.project import settings

from dcr.errors import UserError
from dcr.files import atomic_path
from dcr.framework.dvc_files import Recipe, data_paths, local_path
from dcr.framework.dvc_stages import make_stage
from dcr.framework.home import project_folder
from dcr.parameters import TrainingParameters
from dcr.training.runs import stage2_runs

# Of a run, what `sweep` compares; the rest is new.
_OF_A_SWEEP = frozenset({"scores", "measurements", "this_seed", "training_record"})

_ITEM = {"training": {"signal": {"name": "ITEM-SIGNAL"}, "seed": "ITEM-SEED"}}
"""What stands for a run of the sweep until the stages are written."""

SWEEP = "sweep"
"""The recipe whose stages are runs of the demo with other signals and seeds."""


def write_stages(env: str | None, conf: Path, output: Path | None = None) -> Path:
    """Write a recipe's dvc.yaml, whole or not at all, and return its path.

    Args:
        env: the recipe's folder in ``conf``; None for the default one, whose file is the project's
            own.
        conf: the folder with the recipes.
        output: another file than that, or than ``stages/<env>/dvc.yaml``.

    Raises:
        UserError: there is no such recipe.
    """
    project = project_folder()
    if env and not (conf / env).is_dir():
        raise UserError(f"--env {env}: there is no recipe {env!r} in {conf}")
    target = (
        output or project / ("dvc.yaml" if env is None else f"stages/{env}/dvc.yaml")
    ).absolute()
    text = stages_file(env, str(conf), target, project)
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")
    return target


def stages_file(env: str | None, conf_source: str, target: Path, project: Path) -> str:
    """Return the text of a dvc.yaml for a recipe.

    Args:
        env: the recipe's folder in ``conf_source``; None for the default one.
        conf_source: the folder with the recipes.
        target: where the file will lie; its paths are relative to it.
        project: the project's folder.
    """
    name = env or settings.CONFIG_LOADER_ARGS["default_run_env"]
    recipe = Recipe(name, conf_source, project, _ITEM if name == SWEEP else None)
    content = _sweep(recipe) if name == SWEEP else _recipe(recipe)
    up = relpath(project, target.parent)
    if up != ".":
        content["stages"] = {key: {"wdir": up, **stage} for key, stage in content["stages"].items()}
    content["plots"] = [_moved(plot, up) for plot in content.get("plots", [])]
    option, place = (f" --env {env}", f" {relpath(target, project)}") if env else ("", "")
    head = (
        f"# Made by `kedro make-dvc{option}`: make it again when the recipe names other paths or"
        f" pipelines, or when\n# sources import other modules. `dvc repro{place}` runs what"
        " something changed for, and nothing else.\n"
    )
    if recipe.absent:
        head += (
            "# Not there when it was made, and so not followed:"
            f" {', '.join(sorted(recipe.absent))}\n"
        )
    filled = {key: value for key, value in content.items() if value}
    body: str = yaml.safe_dump(filled, sort_keys=False, width=110)
    return head + body


def _recipe(recipe: Recipe) -> dict[str, Any]:
    made: set[str] = set()
    stages = {name: make_stage(recipe, [name], made) for name in recipe.pipelines}
    return {"stages": stages, "plots": _plots(recipe)}


def _sweep(recipe: Recipe) -> dict[str, Any]:
    """Return a stage a run of the sweep, seed by seed to compare signals early, and one for all."""
    made: set[str] = set()
    for name in recipe.pipelines[: recipe.pipelines.index("training")]:
        make_stage(recipe, [name], made)
    run = make_stage(recipe, ["training", "evaluation"], made)
    run["outs"] = [
        path for name in sorted(_OF_A_SWEEP) for path in data_paths(recipe.catalog[name])
    ]
    del run["metrics"]
    sweep = recipe.parameters["sweep"]
    options = "training.signal.name=ITEM-SIGNAL,training.seed=ITEM-SEED"
    run = {
        "matrix": {"seed": sweep["seeds"], "signal": sweep["signals"]},
        **yaml.safe_load(
            _filled(
                yaml.safe_dump({**run, "cmd": f"{run['cmd']} --params {options}"}, sort_keys=False)
            )
        ),
    }
    folders = {
        path
        for name in ("sweep_scores", "sweep_measurements", "sweep_evaluations", "sweep_records")
        for path in data_paths(recipe.catalog[name])
    }
    return {"stages": {"run": run, "compare": make_stage(recipe, ["sweep"], folders)}}


def _filled(text: str) -> str:
    """Return text with DVC's own words for what a run of the sweep is told."""
    for key in ("signal", "seed"):
        text = text.replace(f"ITEM-{key.upper()}", f"${{item.{key}}}")
    return text


def _plots(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the curves of every run's log."""
    if (
        "training" not in recipe.pipelines
        or (folder := local_path(recipe.catalog["losses"]["path"])) is None
    ):
        return []
    encoders = list(
        stage2_runs(TrainingParameters.model_validate(recipe.parameters["training"])).values()
    )
    held_out = {
        f"{folder}/{run.name}.csv": ["validation_loss"] for runs in encoders for run in runs
    }
    product = [run.name for run in encoders[0]]
    return [
        {
            "Stage 1, projector": {
                "x": "step",
                "y": {f"{folder}/stage1.csv": ["loss", "validation_loss"]},
            }
        },
        *(
            {f"Stage 2, {run}": {"x": "step", "y": {f"{folder}/{run}.csv": ["loss"]}}}
            for run in product
        ),
        {"Stage 2, noise error on held-out samples": {"x": "step", "y": held_out}},
    ]


def _moved(plot: dict[str, Any], up: str) -> dict[str, Any]:
    """Return a plot whose files are relative to a folder from which the project is ``up``."""
    if up == ".":
        return plot
    return {
        title: {**what, "y": {f"{up}/{path}": y for path, y in what["y"].items()}}
        for title, what in plot.items()
    }
