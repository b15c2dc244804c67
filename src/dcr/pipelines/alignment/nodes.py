"""Nodes of pipeline `alignment`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
    encoder: Backbone,
    baselines: dict[str, Callable[[], Backbone]],
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Fit a map for the base and for every encoder that training made; return maps and what is told
    of them.

    Args:
        parameters: section `alignment`; with form ``none`` there is nothing to fit.
        training: section `training`, whose method names ``encoder``.
        training_record: `training.json`, with hashes of what training read and of the encoders it
            made.
        latents: the samples that were trained on, with their captions.
        backbone, encoder: the base, and the encoder of the recipe's method.
        baselines: what loads the encoder of each other method and seed, by name.

    Raises:
        UserError: encoders, base or samples are not those that the record and the parameters of
            training tell of.
    """
    from dcr.alignment.fitting import align_encoders
    from dcr.encoder_names import BASE
    from dcr.training import provenance

    if parameters.form == "none":
        return {}, {"form": "none", "parameters": parameters.course(), "encoders": {}}
    provenance.check_training(training_record, training)
    provenance.check_backbone(training_record, backbone)
    provenance.check_encoder(training_record, training.method, encoder)
    if latents.content_hash() != training_record["hashes"].get("samples"):
        raise UserError(
            "the latents are not of the samples that were trained on; run `kedro run --pipelines "
            "training,alignment,evaluation`"
        )

    def load(name: str) -> Backbone:
        """Load the baseline called ``name``, or refuse it if it is not as the record tells."""
        if name not in baselines:
            raise UserError(
                f"encoder {name}, of which training.json tells, is not there; run `kedro run"
                " --pipelines training`"
            )
        baseline = baselines[name]()
        provenance.check_encoder(training_record, name, baseline)
        return baseline

    encoders = {BASE: lambda: backbone}
    encoders |= {name: partial(load, name) for name in training_record["products"]["encoders"]}
    encoders |= {training.method: lambda: encoder}
    return align_encoders(parameters, latents, training.held_out.fraction, encoders)
