"""What training leaves: the tuned tower, and what its model card tells of how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from dcr.backbones import Backbone
from dcr.files import tensors_hash, weights_hash
from dcr.parameters import RecipeParameters, TrainingParameters
from dcr.training.model import merge_tower
from dcr.training.options import approximations, run_options, tuning_in_words, tuning_options
from dcr.training.run import RunResult


def put_into_tower(
    parameters: TrainingParameters, backbone: Backbone, weights: dict[str, torch.Tensor]
) -> dict[str, Any] | None:
    """Merge trained weights into the backbone's tower; return the adapter to keep beside it, None without LoRA."""
    config = merge_tower(backbone, tuning_options(parameters), weights)
    return {"config": config, "weights": weights} if config else None


def describe_run(parameters: TrainingParameters, name: str, run: RunResult) -> dict[str, Any]:
    """Return what a run was and cost, for `training.json`."""
    return {
        "objective": run_options(parameters, name).objective,
        "steps": run.steps,
        "skipped_steps": run.skipped_steps,
        "seconds": round(run.seconds, 2),
        "samples_per_second": round(run.samples_per_second, 2),
        "trainable_parameters": run.trainable_parameters,
        "loss": float(run.losses["loss"].iloc[-1]),
    }


def hash_products(
    projector: dict[str, torch.Tensor],
    adapters: Mapping[str, Callable[[], dict[str, torch.Tensor]]],
    encoders: Mapping[str, Callable[[], Backbone]],
) -> dict[str, Any]:
    """Return hashes of what training made: the projector, and by method the trained weights and the encoder."""
    return {
        "projector": tensors_hash(projector),
        "adapters": {method: tensors_hash(load()) for method, load in adapters.items()},
        "encoders": {method: weights_hash(load().model) for method, load in encoders.items()},
    }


def describe(
    parameters: TrainingParameters, recipe: RecipeParameters, method: str, hashes: dict[str, str]
) -> dict[str, Any]:
    """Return what `dcr.model_card.model_card` tells of the making; the base model's name is not in it."""
    return {
        "recipe": recipe.name,
        "method": method,
        "tuning": tuning_in_words(parameters),
        "licence": recipe.licence,
        "hashes": hashes,
        "settings": parameters.model_dump(),
        "notes": [f"Training was approximate: {words}." for words in approximations(parameters, method)],
    }
