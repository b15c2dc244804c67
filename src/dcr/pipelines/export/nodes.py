"""Nodes of pipeline `export`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.parameters import (
    AlignmentParameters,
    ExportParameters,
    RecipeParameters,
    TrainingParameters,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dcr.models.backbones import Backbone


def compose_card(
    training: TrainingParameters,
    recipe: RecipeParameters,
    training_record: dict[str, Any],
    models: dict[str, Any],
    validation_summary: dict[str, Any],
    scores: dict[str, Any],
    intervals: dict[str, Any],
    comparisons: dict[str, Any],
    evaluated: dict[str, Any],
    alignment: AlignmentParameters,
    alignment_record: dict[str, Any],
    sets: list[dict[str, Any]],
    export: ExportParameters,
    data_card_record: dict[str, Any],
) -> dict[str, Any]:
    """Gather what the model card tells.

    That is revision, hashes, settings, scores before and after, and what got worse.

    Args:
        training, recipe, alignment: the recipe's sections as they are now.
        training_record, alignment_record: `training.json` and `alignment.json`.
        models: what pipeline `models` recorded of the weights it downloaded, {} if it never ran.
        validation_summary: `validation.json`, which must be of the samples that were trained on.
        scores, intervals: by encoder, set and metric.
        comparisons: each encoder against the base, by its name.
        evaluated: `this_seed.json`, which tells of which weights the scores are.
        sets: `evaluation_sets.json`, which names the set of each benchmark.
        export: the section, whose leaderboards must be of measures that have a score.
        data_card_record: `data_card.json`.

    Raises:
        UserError: the base or the method's encoder, or a leaderboard's measure, has no scores; or
            training, alignment, scores and data do not belong together.
    """
    from dcr.alignment import check_alignment, evaluated_hashes, tell_alignment
    from dcr.evaluation import provenance as scored
    from dcr.export.results import leaderboard_entries
    from dcr.fingerprints import json_hash
    from dcr.training import provenance
    from dcr.training.product import describe

    method = training.method
    provenance.check_training(training_record, training)
    provenance.check_samples(training_record, validation_summary)
    _check_both_have_scores(method, scores)
    tables = scored.table_hashes(scores=scores, intervals=intervals, comparisons=comparisons)
    check_alignment(alignment_record, alignment, training_record)
    made = evaluated_hashes(alignment_record, alignment, training_record)
    scored.check_scores(evaluated, training_record, method, tables, scores, made)
    hashes = {
        "validation": json_hash(validation_summary),
        "recipe": json_hash(training.model_dump(mode="json")),
    }
    card = {
        **describe(training, recipe, method, training_record["hashes"] | hashes),
        "base_model": recipe.backbone,
        "base_revision": recipe.record_of_backbone(models).get("revision"),
        "alignment": tell_alignment(alignment_record, alignment, method),
        **_measured(method, scores, intervals, comparisons, sets),
        "weights": made[method],
        "files": export.model_dump(include={"dtype", "vision_only"}),
        "data": json_hash(data_card_record),
    }
    return card | {"leaderboards": leaderboard_entries(card, export.hub_benchmarks)}


def _check_both_have_scores(method: str, scores: dict[str, Any]) -> None:
    """Refuse a card that could not tell what the method gained over the base."""
    from dcr.encoder_names import BASE
    from dcr.errors import UserError

    if absent := {BASE, method} - scores.keys():
        raise UserError(
            f"encoder {min(absent)} has no scores, so the model card cannot tell what was gained; "
            "run `kedro run --pipelines evaluation`, and look at evaluation_failures.json"
        )


def _measured(
    method: str,
    scores: dict[str, Any],
    intervals: dict[str, Any],
    comparisons: dict[str, Any],
    sets: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return what was measured of base and method, aligned and not where both were evaluated."""
    from dcr.encoder_names import BASE, aligned_name, unaligned_name

    both_forms = (BASE, aligned_name(BASE), method, unaligned_name(method))
    shown = [name for name in dict.fromkeys(both_forms) if name in scores]
    return {
        "scores": {name: scores[name] for name in shown},
        "intervals": {name: intervals[name] for name in shown},
        "comparisons": comparisons.get(method, {}),
        "sets": {benchmark: one["dataset"] for one in sets for benchmark in one["benchmarks"]},
    }


def export_encoder(
    parameters: ExportParameters,
    training: TrainingParameters,
    training_record: dict[str, Any],
    card: dict[str, Any],
    backbone: Backbone,
    adapters: dict[str, Callable[[], Any]],
    alignment: AlignmentParameters,
    alignments: dict[str, Callable[[], Any]],
    alignment_record: dict[str, Any],
) -> Callable[[Path], None]:
    """Put the method's weights, and its alignment, into the base; return what writes the folder.

    The weights go into the tower, the alignment behind it.

    Args:
        parameters: section `export`: precision and variants of what is written.
        training, alignment: the recipe's sections as they are now.
        training_record, alignment_record: `training.json` and `alignment.json`.
        card: what `compose_card` gathered.
        backbone: the base, whose tower the weights are put into.
        adapters: what loads the trained weights of each method and seed, by name.
        alignments: what loads the maps of each encoder, by name.

    Raises:
        UserError: the weights, or the base's, are not those that the card tells of.
    """
    from functools import partial

    import torch

    from dcr.alignment import apply_maps, check_alignment, load_maps
    from dcr.export.folder import write_encoder
    from dcr.training import provenance
    from dcr.training.encoders import put_into_tower

    provenance.check_backbone(training_record, backbone)
    weights = adapters[training.method]() if training.method in adapters else {}
    provenance.check_adapter(training_record, training.method, weights)
    check_alignment(alignment_record, alignment, training_record)
    maps = (
        load_maps(training.method, alignments, alignment_record) if alignment.form != "none" else {}
    )
    adapter = put_into_tower(training, backbone, weights)
    return partial(
        write_encoder,
        backbone=apply_maps(backbone, maps),
        alignment=maps,
        adapter=adapter,
        card=card,
        dtype=getattr(torch, parameters.dtype),
        vision_only=parameters.vision_only,
    )


def add_data_card(
    write_files: Callable[[Path], None],
    training_record: dict[str, Any],
    data_card: str,
    data_card_record: dict[str, Any],
) -> Callable[[Path], None]:
    """Put beside the encoder what it was trained on; return what writes the folder.

    Args:
        write_files: what `export_encoder` returned.
        training_record: `training.json`.
        data_card, data_card_record: of pipeline `validation`, as text and as plain values.

    Raises:
        UserError: the card is of other samples than those that were trained on.
    """
    from dcr.export.writing import write_json
    from dcr.training import provenance

    provenance.check_samples(training_record, data_card_record)

    def write(folder: Path) -> None:
        """Write the encoder into ``folder``, and both forms of the data card beside it."""
        write_files(folder)
        (folder / "data_card.md").write_text(data_card, encoding="utf-8")
        write_json(folder / "data_card.json", data_card_record)

    return write


def hand_on_encoder(report_to: list[str], recipe: str, encoder: Path) -> None:
    """Give the folder to the trackers that keep models; one that fails is left out.

    Args:
        report_to: the trackers of section `monitoring`.
        recipe: its name.
        encoder: the folder.
    """
    from dcr.training.monitoring.handing_on import hand_on_encoder

    hand_on_encoder(report_to, recipe, encoder)
