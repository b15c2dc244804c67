"""Nodes of pipeline `training`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.parameters import RecipeParameters, TrainingParameters

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import torch

    from dcr.backbones import Backbone
    from dcr.diffusion import Diffusion
    from dcr.latents import LatentCache
    from dcr.training.run import RunResult

Opener = Callable[[], Any]


def train_projector(
    parameters: TrainingParameters,
    latents: LatentCache,
    backbone: Backbone,
    diffusion: Diffusion,
    checkpoints: Path,
    made_positives: Path,
) -> tuple[dict[str, torch.Tensor], dict[str, Any], RunResult, dict[str, str]]:
    """Stage 1: train the projector; return its weights, held-out noise errors, the run and hashes of what went in."""
    from dcr.files import sha256_file
    from dcr.training import jobs
    from dcr.training.fingerprint import code_hash

    job = jobs.open_job(parameters, latents, backbone, diffusion, checkpoints, made_positives)
    hashes = {**job.hashes, "code": code_hash()}  # taken before training casts the models
    if parameters.stage1_projector_file:
        hashes["stage1_projector_file"] = sha256_file(parameters.stage1_projector_file)
    projector, errors, result = jobs.train_projector(job)
    return projector, {"projector": errors}, result, hashes


def train_adapters(
    parameters: TrainingParameters,
    latents: LatentCache,
    backbone: Backbone,
    diffusion: Diffusion,
    checkpoints: Path,
    made_positives: Path,
    stage1_projector: dict[str, torch.Tensor],
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, torch.Tensor], dict[str, RunResult]]:
    """Stage 2: train the tower by each method and seed from one start; return also the projector of the product."""
    from dcr.training import jobs

    job = jobs.open_job(parameters, latents, backbone, diffusion, checkpoints, made_positives)
    trained = jobs.train_adapters(job, stage1_projector)
    return trained.towers, trained.projector, trained.runs


def record_losses(projector_run: RunResult, adapter_runs: dict[str, RunResult]) -> dict[str, pd.DataFrame]:
    """Gather the loss logs, one table a run."""
    return {name: run.losses for name, run in _all_results(projector_run, adapter_runs).items()}


def record_training(
    parameters: TrainingParameters,
    projector_run: RunResult,
    adapter_runs: dict[str, RunResult],
    input_hashes: dict[str, str],
    conditions: dict[str, Any],
    projector: dict[str, torch.Tensor],
    adapters: dict[str, Opener],
    encoder: Backbone,
    baselines: dict[str, Opener],
    losses: object,
) -> dict[str, Any]:
    """Gather what each run cost, what went in, and hashes of what came out, as it can be read from disk."""
    from dcr.provenance import training_course
    from dcr.training.product import describe_run, hash_products
    from dcr.training.runs import all_runs, stage2_runs

    runs, results = all_runs(parameters), _all_results(projector_run, adapter_runs)
    names = list(stage2_runs(parameters))
    encoders = {name: baselines[name] for name in names if name != parameters.method}
    return {
        "seed": parameters.seed,
        "runs": {name: describe_run(runs[name], result) for name, result in results.items()},
        "hashes": input_hashes,
        "parameters": training_course(parameters),
        "conditions": conditions,
        "products": hash_products(
            projector, {name: adapters[name] for name in names}, {parameters.method: lambda: encoder, **encoders}
        ),
    }


def _all_results(projector_run: RunResult, adapter_runs: dict[str, RunResult]) -> dict[str, RunResult]:
    return {name: run for name, run in {"stage1": projector_run, **adapter_runs}.items() if run.steps}


def export_encoder(
    parameters: TrainingParameters,
    recipe: RecipeParameters,
    backbone: Backbone,
    adapters: dict[str, Any],
    input_hashes: dict[str, str],
) -> tuple[Backbone, dict[str, Any], dict[str, Any]]:
    """Put the method's weights into the base tower, for open_clip, transformers and LLaVA."""
    return _merge(parameters, recipe, parameters.method, backbone, adapters, input_hashes)


def export_baselines(
    parameters: TrainingParameters,
    recipe: RecipeParameters,
    backbone: Backbone,
    adapters: dict[str, Any],
    input_hashes: dict[str, str],
) -> dict[str, Callable[[], Any]]:
    """Put the weights of other methods and seeds into towers, one encoder at a time when it is saved."""
    from copy import deepcopy

    from dcr.training.runs import stage2_runs

    return {
        name: lambda name=name: _merge(parameters, recipe, name, deepcopy(backbone), adapters, input_hashes)
        for name in stage2_runs(parameters)
        if name != parameters.method
    }


def _merge(
    parameters: TrainingParameters,
    recipe: RecipeParameters,
    name: str,
    backbone: Backbone,
    adapters: dict[str, Any],
    input_hashes: dict[str, str],
) -> tuple[Backbone, dict[str, Any], dict[str, Any]]:
    """Return what the dataset writes: merged backbone, LoRA adapter if there is one, and model card."""
    from dcr.training.product import describe, put_into_tower

    adapter = put_into_tower(parameters, backbone, adapters[name]())
    card = describe(parameters, recipe, name, input_hashes)
    return backbone, adapter, card | {"base_model": backbone.source}
