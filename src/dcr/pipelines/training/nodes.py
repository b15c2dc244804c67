"""Nodes of pipeline `training`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.parameters import RecipeParameters, TrainingParameters

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from dcr.backbones import Backbone
    from dcr.diffusion import Diffusion
    from dcr.latents import LatentCache
    from dcr.training.model import LoraOptions
    from dcr.training.objectives import ObjectiveOptions
    from dcr.training.stages import Data
    from dcr.training.trainer import RunOptions, RunResult


def train_projector(
    parameters: TrainingParameters, latents: LatentCache, backbone: Backbone, diffusion: Diffusion
) -> tuple[dict[str, torch.Tensor], dict[str, Any], RunResult]:
    """Stage 1: train the projector; beside its weights return held-out noise errors and the run."""
    from dcr.training import stages

    run = _run_options(parameters, "stage1", parameters.stage1_loss)
    data = _open_data(parameters, latents, diffusion)
    projector, result, errors = stages.train_projector(backbone, diffusion, data, run, _objective_options(parameters))
    return projector.state_dict(), {"projector": errors}, result


def train_adapters(
    parameters: TrainingParameters,
    latents: LatentCache,
    backbone: Backbone,
    diffusion: Diffusion,
    projector: dict[str, torch.Tensor],
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, RunResult]]:
    """Stage 2: train one adapter a method, each from the same base tower and projector."""
    from copy import deepcopy

    from dcr.training import stages

    data, options = _open_data(parameters, latents, diffusion), _objective_options(parameters)
    trained = {
        method: stages.train_adapter(
            deepcopy(backbone),
            diffusion,
            projector,
            data,
            _run_options(parameters, method, method),
            options,
            _lora_options(parameters),
        )
        for method in _methods(parameters)
    }
    return {m: adapter for m, (adapter, _) in trained.items()}, {m: result for m, (_, result) in trained.items()}


def record_training(
    parameters: TrainingParameters,
    latents: LatentCache,
    backbone: Backbone,
    diffusion: Diffusion,
    projector_run: RunResult,
    adapter_runs: dict[str, RunResult],
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Gather the loss logs, one table a run, what each run cost, and hashes of what went in."""
    from dcr.files import weights_hash

    runs = {"stage1": projector_run, **adapter_runs}
    costs = {
        name: {
            "objective": parameters.stage1_loss if name == "stage1" else name,
            "steps": run.steps,
            "seconds": round(run.seconds, 2),
            "samples_per_second": round(run.samples_per_second, 2),
            "trainable_parameters": run.trainable_parameters,
        }
        for name, run in runs.items()
    }
    hashes = {
        "data": latents.content_hash(),
        "backbone": weights_hash(backbone.model),
        "vae": weights_hash(diffusion.vae),
        "unet": weights_hash(diffusion.unet),
    }
    return {name: run.losses for name, run in runs.items()}, {
        "seed": parameters.seed,
        "runs": costs,
        "hashes": hashes,
    }


def export_encoder(
    parameters: TrainingParameters,
    recipe: RecipeParameters,
    backbone: Backbone,
    adapters: dict[str, Any],
    training_record: dict[str, Any],
) -> tuple[Backbone, dict[str, Any], dict[str, Any]]:
    """Merge the method's adapter into the base tower, for open_clip, transformers and LLaVA."""
    return _merge(parameters, recipe, parameters.method, backbone, adapters, training_record)


def export_baselines(
    parameters: TrainingParameters,
    recipe: RecipeParameters,
    backbone: Backbone,
    adapters: dict[str, Any],
    training_record: dict[str, Any],
) -> dict[str, Callable[[], Any]]:
    """Merge the other methods' adapters, one encoder at a time when it is saved."""
    from copy import deepcopy

    return {
        method: lambda method=method: _merge(parameters, recipe, method, deepcopy(backbone), adapters, training_record)
        for method in _methods(parameters)
        if method != parameters.method
    }


def _merge(
    parameters: TrainingParameters,
    recipe: RecipeParameters,
    method: str,
    backbone: Backbone,
    adapters: dict[str, Any],
    training_record: dict[str, Any],
) -> tuple[Backbone, dict[str, Any], dict[str, Any]]:
    """Return what the dataset writes: merged backbone, adapter and model card."""
    from dcr.training.model import merge_adapter

    weights = adapters[method]()
    config = merge_adapter(backbone, _lora_options(parameters), weights)
    card = {
        "base_model": backbone.source,
        "recipe": recipe.name,
        "method": method,
        "licence": recipe.licence,
        "hashes": training_record["hashes"],
        "settings": parameters.model_dump(),
    }
    return backbone, {"config": config, "weights": weights}, card


def _methods(parameters: TrainingParameters) -> list[str]:
    return list(dict.fromkeys([parameters.method, *parameters.baselines]))


def _run_options(parameters: TrainingParameters, name: str, objective: str) -> RunOptions:
    from dataclasses import fields

    from dcr.training.trainer import RunOptions

    stage = "stage1" if name == "stage1" else "stage2"
    own = ("max_train_steps", "train_batch_size", "learning_rate")
    shared = {f.name for f in fields(RunOptions)} - {"name", "objective", *own}
    return RunOptions(
        name=name,
        objective=objective,
        **{key: getattr(parameters, key) for key in shared},
        **{key: getattr(parameters, f"{stage}_{key}") for key in own},
    )


def _objective_options(parameters: TrainingParameters) -> ObjectiveOptions:
    from dcr.training.objectives import ObjectiveOptions

    keys = ("temperature", "rows_per_chunk", "contrast_weight", "reconstruction_weight")
    return ObjectiveOptions(**{key: getattr(parameters, key) for key in keys})


def _lora_options(parameters: TrainingParameters) -> LoraOptions:
    from dcr.training.model import LoraOptions

    return LoraOptions(**{key: getattr(parameters, f"lora_{key}") for key in ("rank", "alpha", "dropout", "bias")})


def _open_data(parameters: TrainingParameters, latents: LatentCache, diffusion: Diffusion) -> Data:
    from dcr.training.stages import Data
    from dcr.transforms import ViewAugmentation

    augmentation = ViewAugmentation(
        **{key: getattr(parameters, f"view_{key}") for key in ("brightness", "contrast", "saturation", "hue")},
        horizontal_flip=parameters.view_horizontal_flip,
        vertical_flip=parameters.view_vertical_flip,
        scale=(parameters.view_scale_min, 1.0),
        ratio=(1 / parameters.view_ratio_max, parameters.view_ratio_max),
    )
    return Data.open(
        latents,
        diffusion,
        augmentation,
        parameters.validation_fraction,
        parameters.num_validation_samples,
        parameters.seed,
    )
