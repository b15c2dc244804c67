"""What training leaves: the tuned tower, and what its model card tells of how it was made."""

from __future__ import annotations

from typing import Any

import torch

from dcr.backbones import Backbone
from dcr.parameters import RecipeParameters, TrainingParameters
from dcr.training.model import merge_tower
from dcr.training.options import approximations, tuning_in_words, tuning_options


def put_into_tower(
    parameters: TrainingParameters, backbone: Backbone, weights: dict[str, torch.Tensor]
) -> dict[str, Any] | None:
    """Merge trained weights into the backbone's tower; return the adapter to keep beside it, None without LoRA."""
    config = merge_tower(backbone, tuning_options(parameters), weights)
    return {"config": config, "weights": weights} if config else None


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
