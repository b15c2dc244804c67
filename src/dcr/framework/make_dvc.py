"""`kedro make-dvc`: a recipe's pipelines as DVC's stages, each with what it reads, runs through and
writes.

Everything comes from what Kedro knows already: inputs and outputs from the pipelines, paths from
the catalog, sources from the imports. The repository's own dvc.yaml is written in this way, and
tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from os.path import relpath
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.project import pipelines as registered
from kedro.framework.project import settings

import dcr
from dcr.errors import UserError
from dcr.files import atomic_path
from dcr.fingerprints import SOURCES
from dcr.framework.dvc_files import Recipe, data_paths, local_path
from dcr.framework.home import project_folder
from dcr.parameters import TrainingParameters
from dcr.training.runs import stage2_runs

# What a stage finds again in its next run, where it takes what is current and makes the rest; DVC
# removes all other outputs before it.
_KEPT = frozenset(
    {
        *(
            "shards",
            "mmvp_vlm",
            "classification",
            "retrieval",
            "drawn_scenes",
            "backbone",
            "diffusion",
            "base_models",
        ),
        *(
            "validation_mmvp_vlm",
            "validation_classification",
            "validation_retrieval",
            "drawn_validation_sets",
        ),
        *("models", "samples", "latents", "synthetic_positives", "checkpoints"),
        *(
            "evaluation_cache",
            "seed_scores",
            "eval_results",
            "selection_checkpoints",
            "selection_results",
        ),
    }
)
_METRICS = frozenset({"validation_summary", "conditions", "training_record", "scores"})
_WORKING = "dcr.datasets.folders.WorkingFolderDataset"
_OF_A_SWEEP = frozenset(
    {"scores", "measurements", "this_seed", "training_record"}
)  # of a run, what `sweep` compares; the rest is new

_ITEM = {"training": {"signal": "ITEM-SIGNAL", "seed": "ITEM-SEED"}}
"""What stands for a run of the sweep until the stages are written."""

SWEEP = "sweep"
"""The recipe whose stages are runs of the demo with other signals and seeds."""

Stage = dict[str, Any]


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
    return head + yaml.safe_dump(
        {k: v for k, v in content.items() if v}, sort_keys=False, width=110
    )


def _recipe(recipe: Recipe) -> dict[str, Any]:
    made: set[str] = set()
    stages = {name: _stage(recipe, [name], made) for name in recipe.pipelines}
    return {"stages": stages, "plots": _plots(recipe)}


def _sweep(recipe: Recipe) -> dict[str, Any]:
    """Return one stage for each run of the sweep, seed by seed, so that signals are compared
    early, and one for all.
    """
    made: set[str] = set()
    for name in recipe.pipelines[: recipe.pipelines.index("training")]:
        _stage(recipe, [name], made)
    run = _stage(recipe, ["training", "evaluation"], made)
    run["outs"] = [
        path for name in sorted(_OF_A_SWEEP) for path in data_paths(recipe.catalog[name])
    ]
    del run["metrics"]
    sweep = recipe.parameters["sweep"]
    options = ",".join(f"training.{key}={value}" for key, value in _ITEM["training"].items())
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
    return {"stages": {"run": run, "compare": _stage(recipe, ["sweep"], folders)}}


def _filled(text: str) -> str:
    """Return text with DVC's own words for what a run of the sweep is told."""
    for key, value in _ITEM["training"].items():
        text = text.replace(value, f"${{item.{key}}}")
    return text


def _stage(recipe: Recipe, names: list[str], made: set[str]) -> Stage:
    """Return a stage of one or more pipelines; ``made`` are the paths of earlier ones, and get
    this one's.
    """
    parts = [registered[name] for name in names]
    read = sorted({name for part in parts for name in part.all_inputs()})
    written = sorted(
        {name for part in parts for name in part.all_outputs()} & recipe.catalog.keys()
    )
    working = [name for name in read if recipe.catalog.get(name, {}).get("type") == _WORKING]
    written += [name for name in working if not made.intersection(data_paths(recipe.catalog[name]))]
    outs = {
        path: name
        for name in written
        if recipe.is_written(name)
        for path in data_paths(recipe.catalog[name])
    }
    modules = {node.func.__module__ for part in parts for node in part.nodes}
    modules |= {f"{module.rpartition('.')[0]}.pipeline" for module in modules}
    modules |= {module for name in {*read, *written} for module in recipe.modules(name)}
    stage = {
        "cmd": f"kedro run --env {recipe.env} --pipelines {','.join(names)}",
        "deps": [
            *recipe.folders,
            *_sources(modules, recipe.project),
            *sorted(
                {path for name in set(read) - set(written) for path in recipe.inputs(name, made)}
                - outs.keys()
            ),
        ],
        "params": recipe.tracked(read, written),
        "outs": [_out(path, name) for path, name in sorted(outs.items()) if name not in _METRICS],
        "metrics": [path for path, name in sorted(outs.items()) if name in _METRICS],
    }
    made.update(outs)
    return {key: value for key, value in stage.items() if value}


def _out(path: str, name: str) -> str | dict[str, dict[str, bool]]:
    options = {"persist": True} if name in _KEPT else {}
    if Path(path).is_absolute():  # outside of the repository, so DVC only watches it
        options["cache"] = False
    return {path: options} if options else path


def _sources(modules: Iterable[str], project: Path) -> list[str]:
    package = Path(dcr.__file__).parent
    if not package.is_relative_to(project):  # an installed wheel
        return []
    return [f"{package.relative_to(project).as_posix()}/{path}" for path in SOURCES.listed(modules)]


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
