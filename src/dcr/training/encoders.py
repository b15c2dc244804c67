"""The encoders that training made: trained weights, merged into a copy of their base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.models.backbones import fuse_attention
from dcr.parameters import TrainingParameters
from dcr.training import provenance
from dcr.training.model import merge_tower

if TYPE_CHECKING:
    import torch

    from dcr.models.backbones import Backbone


def put_into_tower(
    parameters: TrainingParameters, backbone: Backbone, weights: dict[str, torch.Tensor]
) -> dict[str, Any] | None:
    """Merge trained weights into the backbone's tower; return LoRA's adapter to keep beside it.

    Without LoRA it is None.

    Args:
        parameters: with which the tower was trained.
        backbone: with the tower that training started from; it is changed in place.
        weights: trained ones, as `dcr.training.model.tower_state` returns them.
    """
    config = merge_tower(backbone, parameters.tuning, weights)
    return {"config": config, "weights": weights} if config else None


def build_encoder(
    parameters: TrainingParameters, backbone: Backbone, weights: dict[str, torch.Tensor]
) -> Backbone:
    """Return a copy of the base with trained weights merged into its tower, on the base's device.

    Args:
        parameters: with which the tower was trained.
        backbone: the base; it is not changed.
        weights: trained ones, as `dcr.training.model.tower_state` returns them.
    """
    encoder = deepcopy(backbone)
    put_into_tower(parameters, encoder, weights)
    fuse_attention(encoder.visual)  # computes as a folder does that is loaded
    encoder.model.requires_grad_(False).eval()
    return encoder


def trained_encoders(
    parameters: TrainingParameters,
    record: Mapping[str, Any],
    backbone: Backbone,
    adapters: Mapping[str, Callable[[], dict[str, torch.Tensor]]],
) -> dict[str, Callable[[], Backbone]]:
    """Return what builds each encoder that training made, the product's method first.

    No encoder lies on disk between training and export: trained weights and the base they belong to
    are all of it, and they are small and checked. Each is built in a copy of the base.

    Args:
        parameters: of the recipe's training, as they are now.
        record: `training.json`, which names the encoders and has hashes of what made them.
        backbone: the base; it is not changed.
        adapters: what loads the trained weights, by encoder.

    Raises:
        UserError: the parameters or the base are not those of the record, or weights are not there;
            or, when an encoder is built, its weights are not those of the record.
    """
    provenance.check_training(record, parameters)
    provenance.check_backbone(record, backbone)
    names = sorted(
        provenance.products(record, "adapters"), key=lambda name: (name != parameters.method, name)
    )
    for name in names:
        if name not in adapters:
            raise UserError(
                f"the trained weights of {name}, of which training.json tells, are not there; run"
                " `kedro run --pipelines training`"
            )

    def build(name: str) -> Backbone:
        """Return the encoder ``name``, in a copy of the base."""
        weights = adapters[name]()
        provenance.check_adapter(record, name, weights)
        return build_encoder(parameters, backbone, weights)

    return {name: partial(build, name) for name in names}
