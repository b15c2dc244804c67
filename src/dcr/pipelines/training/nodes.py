"""Nodes of pipeline `training`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.parameters import RecipeParameters, TrainingParameters

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import torch

    from dcr.latents import LatentCache
    from dcr.models.backbones import Backbone
    from dcr.models.diffusion import Diffusion
    from dcr.training.runs import RunResult

Opener = Callable[[], Any]


def train_projector(
    parameters: TrainingParameters,
    latents: LatentCache,
    backbone: Backbone,
    diffusion: Diffusion,
    checkpoints: Path,
    synthetic_positives: Path,
    recipe: RecipeParameters,
) -> tuple[dict[str, torch.Tensor], dict[str, Any], RunResult, dict[str, str]]:
    """Stage 1: train the projector.

    Its weights, held-out noise errors, the run and hashes of what went in are returned.

    Args:
        parameters: section `training`.
        latents, backbone, diffusion: the samples and the frozen models.
        checkpoints: folder with one folder for each run.
        synthetic_positives: their folder; read only if the recipe trains with them.
        recipe: names the sources, which the latents must still be of.
    """
    from dcr.files import sha256_file
    from dcr.training import jobs
    from dcr.training.fingerprint import code_hash
    from dcr.training.inputs import check_mixture
    from dcr.training.job import open_job

    check_mixture(latents, recipe.weights)
    job = open_job(parameters, latents, backbone, diffusion, checkpoints, synthetic_positives)
    hashes = {**job.hashes, "code": code_hash()}  # taken before training casts the models
    if parameters.stage1.projector_file:
        hashes["stage1_projector_file"] = sha256_file(parameters.stage1.projector_file)
    projector, errors, result = jobs.train_projector(job)
    return projector, {"projector": errors}, result, hashes


def train_adapters(
    parameters: TrainingParameters,
    latents: LatentCache,
    backbone: Backbone,
    diffusion: Diffusion,
    checkpoints: Path,
    synthetic_positives: Path,
    stage1_projector: dict[str, torch.Tensor],
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, torch.Tensor], dict[str, RunResult]]:
    """Stage 2: train the tower by each method and seed from one start.

    The projector of the product is returned, too.

    Args:
        parameters, latents, backbone, diffusion, checkpoints, synthetic_positives: as in
            `train_projector`.
        stage1_projector: the weights that stage 1 left.
    """
    from dcr.training import jobs
    from dcr.training.job import open_job

    job = open_job(parameters, latents, backbone, diffusion, checkpoints, synthetic_positives)
    trained = jobs.train_adapters(job, stage1_projector)
    return trained.towers, trained.projector, trained.runs


def record_losses(
    projector_run: RunResult, adapter_runs: dict[str, RunResult]
) -> dict[str, pd.DataFrame]:
    """Gather the loss logs, one table a run.

    Args:
        projector_run, adapter_runs: stage 1's run, and those of stage 2 by name; one without steps
            has no log.
    """
    return {name: run.losses for name, run in _all_results(projector_run, adapter_runs).items()}


def record_training(
    parameters: TrainingParameters,
    projector_run: RunResult,
    adapter_runs: dict[str, RunResult],
    input_hashes: dict[str, str],
    conditions: dict[str, Any],
    projector: dict[str, torch.Tensor],
    adapters: dict[str, Opener],
    losses: object,
) -> dict[str, Any]:
    """Gather what each run cost, what went in, and hashes of what came out, as read from disk.

    Args:
        parameters: section `training`.
        projector_run, adapter_runs: as in `record_losses`.
        input_hashes: of data, models and code, taken before training.
        conditions: the held-out noise errors.
        projector: its weights as they were saved.
        adapters: what loads the weights of each method and seed.
        losses: not read; comes in so that the tables are written before the record.
    """
    from dcr.training.product import describe_run, hash_products
    from dcr.training.runs import all_runs, stage2_runs

    runs = all_runs(parameters)
    results = _all_results(projector_run, adapter_runs)
    names = stage2_runs(parameters)
    return {
        "seed": parameters.seed,
        "runs": {name: describe_run(runs[name], result) for name, result in results.items()},
        "hashes": input_hashes,
        "parameters": parameters.course(),
        "conditions": conditions,
        "products": hash_products(projector, {name: adapters[name] for name in names}),
    }


def _all_results(
    projector_run: RunResult, adapter_runs: dict[str, RunResult]
) -> dict[str, RunResult]:
    return {
        name: run for name, run in {"stage1": projector_run, **adapter_runs}.items() if run.steps
    }
