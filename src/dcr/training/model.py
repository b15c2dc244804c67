"""What is trained: image tower and projector, as one module that gives the UNet's conditions."""

from __future__ import annotations

from copy import deepcopy

import torch
from peft import (
    LoraConfig,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from peft.tuners.lora import LoraLayer
from torch import nn

from dcr.errors import UserError
from dcr.models.backbones import (
    Backbone,
    lora_targets,
    merge_lora,
    split_attention,
    transformer_blocks,
)
from dcr.models.projector import Projector, TokenProjector, project
from dcr.parameters.training.parts import Lora, Tuning
from dcr.training.distributed.sharding import full_tensor


class ConditionModel(nn.Module):
    """Image tower and projector.

    Shape: pixels (B, 3, H, W) in [0, 1] -> image features (B, d), projections (B, m), or (B, 1 + P,
    m) of a projector of tokens.

    Args:
        backbone: whose image tower is called, and may be trained.
        projector: a `dcr.models.projector.Projector` or `dcr.models.projector.TokenProjector` for
            it.
    """

    projector: Projector | TokenProjector

    def __init__(self, backbone: Backbone, projector: Projector | TokenProjector) -> None:
        super().__init__()
        self.backbone = backbone
        # Registered here so that its parameters are found; the backbone calls it.
        self.tower = backbone.visual
        self.projector = projector

    def forward(
        self, pixels: torch.Tensor, features: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return image features and projections of ``pixels``, (B, 3, H, W) in [0, 1].

        Args:
            pixels: of the images.
            features: theirs, (B, d), where they are known: the tower is not asked again.
        """
        if features is not None:
            return features, self.projector(features)
        return project(self.backbone, self.projector, pixels)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that training may change, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def freeze_for_stage1(model: ConditionModel) -> None:
    """Leave only the projector of ``model`` trainable."""
    model.requires_grad_(False)
    model.projector.requires_grad_(True)


def frozen_copy(backbone: Backbone) -> Backbone:
    """Return the backbone as it is now, which later training does not reach."""
    frozen = deepcopy(backbone)
    frozen.model.requires_grad_(False).eval()
    return frozen


def prepare_tower(backbone: Backbone, tuning: Tuning) -> LoraConfig | None:
    """Make trainable what ``tuning`` says of the tower, freeze the rest; return the LoRA config.

    It is PEFT's, None without LoRA.

    Args:
        backbone: whose image tower is changed, in place.
        tuning: says what of it trains.

    Raises:
        UserError: the tower has fewer blocks than are to be trained.
    """
    if tuning.mode == "lora":
        return add_lora(backbone, tuning.lora)
    backbone.visual.requires_grad_(tuning.mode == "full")
    if tuning.mode == "last_blocks":
        blocks = list(transformer_blocks(backbone.visual))
        if tuning.num_blocks > len(blocks):
            raise UserError(
                f"tuning.num_blocks {tuning.num_blocks} is more than the {len(blocks)} blocks of"
                f" {backbone.source}; lower it, or train them all with tuning.mode: full"
            )
        for block in blocks[-tuning.num_blocks :]:
            block.requires_grad_(True)
    return None


def add_lora(backbone: Backbone, lora: Lora) -> LoraConfig:
    """Put LoRA on linear layers of the image tower, freeze its rest; return PEFT's configuration.

    Fused attention is split into separate q, k, v and output layers first, so that each gets its
    own factors as in the paper. The text tower is not touched.

    Args:
        backbone: whose image tower is changed, in place.
        lora: LoRA's numbers, and the kinds of layers that get it.
    """
    split_attention(backbone.visual)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias=lora.bias,
        target_modules=lora_targets(backbone.visual, lora.targets),
    )
    backbone.visual.requires_grad_(False)
    inject_adapter_in_model(config, backbone.visual)
    for module in backbone.visual.modules():
        if isinstance(module, LoraLayer):
            # Autocast rounds back what PEFT copies to float32: the same bits, unless dropout scales
            # between the two.
            module.cast_input_dtype_enabled = lora.dropout > 0
    return config


def tower_state(backbone: Backbone, tuning: Tuning) -> dict[str, torch.Tensor]:
    """Return the weights that training may have changed, on the CPU.

    LoRA's go by PEFT's names, others by the tower's.

    Args:
        backbone: whose tower `prepare_tower` has made ready.
        tuning: with which it did.
    """
    if tuning.mode == "lora":
        state = get_peft_model_state_dict(backbone.visual)
    else:
        state = {name: p for name, p in backbone.visual.named_parameters() if p.requires_grad}
    return {
        name: full_tensor(tensor.detach()).cpu().contiguous().clone()
        for name, tensor in state.items()
    }


def load_tower(backbone: Backbone, tuning: Tuning, state: dict[str, torch.Tensor]) -> None:
    """Put trained weights into a tower that `prepare_tower` has made ready.

    What trains stays trainable.

    Args:
        backbone: whose tower it is.
        tuning: with which it was made ready.
        state: trained weights, as `tower_state` returns them.

    Raises:
        UserError: they were trained on another tower, or another part of it.
    """
    own = tower_state(backbone, tuning)
    is_lora = tuning.mode == "lora"
    if own.keys() != state.keys() or any(own[name].shape != state[name].shape for name in own):
        what = f"LoRA of rank {tuning.lora.rank}" if is_lora else f"tuning.mode {tuning.mode}"
        raise UserError(
            f"the trained weights do not fit the image tower of {backbone.source} with {what}; "
            "train them again with `kedro run --pipelines training`"
        )
    if is_lora:
        set_peft_model_state_dict(backbone.visual, state)
    else:
        backbone.visual.load_state_dict(state, strict=False)


def merge_tower(
    backbone: Backbone, tuning: Tuning, state: dict[str, torch.Tensor]
) -> LoraConfig | None:
    """Put trained weights into the image tower, in place; return PEFT's configuration of LoRA.

    Args:
        backbone: with the tower that training started from.
        tuning: with which it was trained.
        state: trained weights, as `tower_state` returns them.

    Raises:
        UserError: they were trained on another tower, or another part of it.
    """
    config = prepare_tower(backbone, tuning)
    load_tower(backbone, tuning, state)
    if config:
        merge_lora(backbone.visual)
    return config
