"""Nodes of pipeline `export`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.parameters import ExportParameters, RecipeParameters, TrainingParameters

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

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
    outcomes: pd.DataFrame,
    evaluated: dict[str, Any],
) -> dict[str, Any]:
    """Gather what the model card tells: revision, hashes, settings, scores before and after, what got worse.

    Raises:
        UserError: the base or the method's encoder has no scores; or training, scores and data do not belong together.
    """
    from dcr import provenance
    from dcr.errors import UserError
    from dcr.files import json_hash
    from dcr.training.product import describe

    method = training.method
    provenance.check_training(training_record, training)
    provenance.check_samples(training_record, validation_summary)
    if absent := {"base", method} - scores.keys():
        raise UserError(
            f"encoder {min(absent)} has no scores, so the model card cannot tell what was gained; "
            "run `kedro run --pipelines evaluation`, and look at evaluation_failures.json"
        )
    tables = provenance.table_hashes(outcomes, scores=scores, intervals=intervals, comparisons=comparisons)
    provenance.check_scores(evaluated, training_record, method, tables, scores)
    hashes = {"validation": json_hash(validation_summary), "recipe": json_hash(training.model_dump(mode="json"))}
    return {
        **describe(training, recipe, method, training_record["hashes"] | hashes),
        "base_revision": models.get("backbone", {}).get("revision"),
        "scores": {name: scores[name] for name in ("base", method)},
        "intervals": {name: intervals[name] for name in ("base", method)},
        "comparisons": comparisons.get(method, {}),
    }


def export_encoder(
    parameters: ExportParameters,
    training: TrainingParameters,
    training_record: dict[str, Any],
    card: dict[str, Any],
    backbone: Backbone,
    adapters: dict[str, Callable[[], Any]],
) -> Callable[[Path], None]:
    """Put the method's weights into the base tower; return what writes the folder.

    Raises:
        UserError: the weights, or the base's, are not those that the card tells of.
    """
    from functools import partial

    import torch

    from dcr import provenance
    from dcr.export import write_encoder
    from dcr.training.product import put_into_tower

    weights = adapters[training.method]() if training.method in adapters else {}
    provenance.check_adapter(training_record, training.method, weights)
    provenance.check_backbone(training_record, backbone)
    adapter = put_into_tower(training, backbone, weights)
    return partial(
        write_encoder,
        backbone=backbone,
        adapter=adapter,
        card=card | {"base_model": backbone.source},
        dtype=getattr(torch, parameters.dtype),
        vision_only=parameters.vision_only,
    )
