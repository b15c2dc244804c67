"""A pipeline as a stage of DVC's: what it reads, what it runs through, and what it writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kedro.framework.project import pipelines as registered

import dcr
from dcr.fingerprints import SOURCES
from dcr.framework.dvc_files import Recipe, data_paths

Stage = dict[str, Any]

# What a stage finds again in its next run, where it takes what is current and makes the rest; DVC
# removes all other outputs before it.
_KEPT = frozenset(
    {
        "backbone",
        "base_models",
        "checkpoints",
        "classification",
        "diffusion",
        "drawn_scenes",
        "drawn_validation_sets",
        "eval_results",
        "evaluation_cache",
        "latents",
        "likenesses",
        "mmvp_vlm",
        "models",
        "retrieval",
        "sample_features",
        "samples",
        "seed_scores",
        "segmentation",
        "selection_checkpoints",
        "selection_results",
        "shards",
        "synthetic_positives",
        "validation_classification",
        "validation_mmvp_vlm",
        "validation_retrieval",
    }
)
_METRICS = frozenset({"validation_summary", "conditions", "training_record", "scores"})
_WORKING = "dcr.datasets.folders.WorkingFolderDataset"


def make_stage(recipe: Recipe, names: list[str], made: set[str]) -> Stage:
    """Return a stage of one or more pipelines.

    Args:
        recipe: whose pipelines they are.
        names: of the pipelines.
        made: the paths of what earlier stages write; those of this one are added.
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
