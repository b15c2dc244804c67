"""Nodes of pipeline `evaluation`: what is evaluated, and by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.parameters import AlignmentParameters, EvaluationParameters, TrainingParameters

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dcr.data.benchmark_sets import BenchmarkSet, NamedSet
    from dcr.evaluation import Result
    from dcr.models.backbones import Backbone


SetOpener = Callable[[], "BenchmarkSet"]
Encoders = dict[str, Callable[[], "Backbone"]]


def gather_encoders(
    training: TrainingParameters,
    training_record: dict[str, Any],
    backbone: Backbone,
    adapters: dict[str, Callable[[], dict[str, torch.Tensor]]],
    more_encoders: Encoders,
    alignment: AlignmentParameters,
    alignments: dict[str, Callable[[], dict[str, torch.Tensor]]],
    alignment_record: dict[str, Any],
) -> tuple[Encoders, dict[str, str]]:
    """Name the base encoder, the trained ones and any others, in the order shown.

    What loads each is returned, and hashes of what the recipe's own are made of. Where an alignment
    followed training, each of them but the others is there twice, see `dcr.encoder_names`.

    Args:
        training, alignment: the recipe's sections as they are now.
        training_record, alignment_record: `training.json` and `alignment.json`, with hashes of what
            was made.
        backbone: the base.
        adapters: what loads the trained weights of each method and seed, by name.
        more_encoders: what loads encoders that the recipe brings, under names that no other has.
        alignments: what loads the maps of each encoder, by name.

    Raises:
        UserError: the encoders are not those of the training that the record and the parameters
            tell of, or the alignment is not of them.
    """
    from dcr.alignment import both_forms, check_alignment, evaluated_hashes
    from dcr.encoder_names import BASE
    from dcr.training.encoders import trained_encoders

    trained = trained_encoders(training, training_record, backbone, adapters)
    taken: Encoders = {BASE: lambda: backbone, **trained}
    check_alignment(alignment_record, alignment, training_record)
    if alignment.form != "none":
        taken = both_forms(taken, alignments, alignment_record)
    for name in more_encoders:
        if name in taken:
            raise UserError(
                f"more_encoders: the name {name!r} is that of an encoder of this recipe; take"
                " another"
            )
    hashes = evaluated_hashes(alignment_record, alignment, training_record)
    return {**taken, **more_encoders}, hashes


def gather_sets(
    parameters: EvaluationParameters,
    mmvp_vlm: SetOpener | None,
    classification: SetOpener | None,
    retrieval: SetOpener | None,
    more_sets: dict[str, tuple[str, SetOpener]],
) -> list[NamedSet]:
    """List the sets that the recipe evaluates.

    Args:
        parameters: its ``sets`` are those to list.
        mmvp_vlm, classification, retrieval: what opens each of the recipe's own, None where it has
            none.
        more_sets: kind and opener of further sets, by name.
    """
    from dcr.data.benchmark_sets import choose_sets

    own = {"mmvp_vlm": mmvp_vlm, "classification": classification, "retrieval": retrieval}
    return choose_sets(parameters.sets, own, more_sets)


def evaluate_encoders(
    parameters: EvaluationParameters, encoders: Encoders, sets: list[NamedSet], cache: Path
) -> tuple[dict[str, list[Result]], list[dict[str, str]]]:
    """Evaluate every encoder, one after the other, on the recipe's sets.

    Args:
        parameters: section `evaluation`.
        encoders: what loads each, by name.
        sets: those to evaluate on.
        cache: folder of embeddings and results.

    Returns:
        results by encoder, and what could not be evaluated.
    """
    from dataclasses import asdict

    from dcr.evaluation import EvaluationCache, EvaluationOptions, evaluate_encoders

    options = EvaluationOptions.of(parameters)
    evaluations, failures = evaluate_encoders(encoders, sets, options, EvaluationCache(cache))
    return evaluations, [asdict(failure) for failure in failures]


def embed_sets(
    parameters: EvaluationParameters, encoders: Encoders, sets: list[NamedSet], cache: Path
) -> None:
    """Fill the cache of embeddings with this process's share of the sets' parts.

    Args:
        parameters: ``rank`` and ``num_ranks`` are this process's share where torchrun gives none.
        encoders, sets, cache: as in `evaluate_encoders`.
    """
    from dcr.evaluation import EvaluationCache, EvaluationOptions, embed_parts
    from dcr.latents import pick_rank

    rank = pick_rank(parameters.rank, parameters.num_ranks)
    embed_parts(encoders, sets, EvaluationOptions.of(parameters), EvaluationCache(cache), *rank)
