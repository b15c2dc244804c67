"""What the record of a training tells of its products, and a model card of how they were made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from dcr.fingerprints import tensors_hash
from dcr.parameters import RecipeParameters, TrainingParameters
from dcr.parameters.training.phases import Phase
from dcr.training.runs import Run, RunResult, approximations, encoder_runs


def describe_run(run: Run, result: RunResult) -> dict[str, Any]:
    """Return what a run was and cost, for `training.json`.

    Steps that an earlier run had in common with it are counted with the seconds that they took
    there.

    Args:
        run: names the objective.
        result: what it left; its last loss is told.
    """
    return {
        "objective": run.objective,
        "steps": result.steps,
        "skipped_steps": result.skipped_steps,
        "seconds": round(result.seconds, 2),
        "samples_per_second": round(result.samples_per_second, 2),
        "trainable_parameters": result.trainable_parameters,
        "loss": float(result.losses["loss"].iloc[-1]),
    }


def hash_products(
    projector: dict[str, torch.Tensor],
    adapters: Mapping[str, Callable[[], dict[str, torch.Tensor]]],
) -> dict[str, Any]:
    """Return hashes of what training made: the projector, and the trained weights by encoder.

    Args:
        projector: that of the product.
        adapters: by encoder, what loads the trained weights.
    """
    return {
        "projector": tensors_hash(projector),
        "adapters": {name: tensors_hash(load()) for name, load in adapters.items()},
    }


def describe(
    parameters: TrainingParameters, recipe: RecipeParameters, encoder: str, hashes: dict[str, str]
) -> dict[str, Any]:
    """Return what `dcr.export.card.model_card` tells of the making, but the base model's name.

    Args:
        parameters: of the recipe's training.
        recipe: its name and its licence.
        encoder: whose card it is, ``dcr`` or ``dcr@1``.
        hashes: of data and models that went in, by name.
    """
    runs = encoder_runs(parameters, encoder)
    several = len(runs) > 1
    return {
        "recipe": recipe.name,
        "method": encoder,
        "tuning": parameters.tuning.in_words(),
        "licence": recipe.licence,
        "hashes": hashes,
        "settings": parameters.by_name(),
        "phases": [_describe_phase(run) for run in runs] if several else [],
        "notes": [
            f"{f'Phase {run.number} of training' if several else 'Training'} was approximate:"
            f" {words}."
            for run in runs
            for words in approximations(run)
        ],
    }


def _describe_phase(run: Run) -> dict[str, Any]:
    """Return a row of the card's table of phases: every number a phase may set, as it trained."""
    numbers = {
        name: getattr(getattr(run.parameters, section), name)
        for name, (section, name) in Phase.places().items()
    }
    return {"phase": run.number, "objective": run.objective, **numbers}
