"""Nodes of pipeline `alignment`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.parameters import AlignmentParameters, TrainingParameters

if TYPE_CHECKING:
    import torch

    from dcr.latents import LatentCache
    from dcr.models.backbones import Backbone


def fit_alignments(
    parameters: AlignmentParameters,
    training: TrainingParameters,
    training_record: dict[str, Any],
    latents: LatentCache,
    backbone: Backbone,
    adapters: dict[str, Callable[[], dict[str, torch.Tensor]]],
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Fit a map for the base and for every encoder that training made.

    The maps are returned, and what is told of them.

    Args:
        parameters: section `alignment`; with form ``none`` there is nothing to fit.
        training: section `training`.
        training_record: `training.json`, with hashes of what training read and of the encoders it
            made.
        latents: the samples that were trained on, with their captions.
        backbone: the base.
        adapters: what loads the trained weights of each method and seed, by name.

    Raises:
        UserError: encoders, base or samples are not those that the record and the parameters of
            training tell of.
    """
    from dcr.alignment.fitting import align_encoders
    from dcr.encoder_names import BASE
    from dcr.training import provenance
    from dcr.training.encoders import trained_encoders

    if parameters.form == "none":
        return {}, {"form": "none", "parameters": parameters.course(), "encoders": {}}
    encoders = trained_encoders(training, training_record, backbone, adapters)
    if latents.content_hash() != training_record["hashes"].get("samples"):
        raise UserError(
            "the latents are not of the samples that were trained on; run `kedro run --pipelines "
            "training,alignment,evaluation`"
        )
    encoders = {BASE: lambda: backbone, **encoders}
    maps, record = align_encoders(parameters, latents, training.held_out.fraction, encoders)
    return maps, record | {"made_from": provenance.encoder_hashes(training_record)}
