"""Nodes of pipeline `export`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.parameters import ExportParameters, RecipeParameters, TrainingParameters

if TYPE_CHECKING:
    from pathlib import Path

    from dcr.backbones import Backbone


def compose_card(
    training: TrainingParameters,
    recipe: RecipeParameters,
    training_record: dict[str, Any],
    models: dict[str, Any],
    validation_summary: dict[str, Any],
    scores: dict[str, Any],
    intervals: dict[str, Any],
    comparisons: dict[str, Any],
) -> dict[str, Any]:
    """Gather what the model card tells: revision, hashes, settings, scores before and after, what got worse."""
    from dcr.files import json_hash
    from dcr.training.options import approximations, tuning_in_words

    method = training.method
    return {
        "base_revision": models.get("backbone", {}).get("revision"),
        "recipe": recipe.name,
        "method": method,
        "tuning": tuning_in_words(training),
        "licence": recipe.licence,
        "hashes": training_record["hashes"]
        | {"validation": json_hash(validation_summary), "recipe": json_hash(training.model_dump(mode="json"))},
        "settings": training.model_dump(),
        "scores": {name: scores[name] for name in ("base", method)},
        "intervals": {name: intervals[name] for name in ("base", method)},
        "comparisons": comparisons.get(method, {}),
        "notes": [f"Training was approximate: {words}." for words in approximations(training, method)],
    }


def export_encoder(
    parameters: ExportParameters,
    training: TrainingParameters,
    card: dict[str, Any],
    backbone: Backbone,
    adapters: dict[str, Callable[[], Any]],
) -> Callable[[Path], None]:
    """Put the method's weights into the base tower; return what writes the folder."""
    from functools import partial

    import torch

    from dcr.export import write_encoder
    from dcr.training.model import merge_tower
    from dcr.training.options import tuning_options

    weights = adapters[training.method]()
    config = merge_tower(backbone, tuning_options(training), weights)
    return partial(
        write_encoder,
        backbone=backbone,
        adapter={"config": config, "weights": weights} if config else None,
        card=card | {"base_model": backbone.source},
        dtype=getattr(torch, parameters.dtype),
        vision_only=parameters.vision_only,
    )
