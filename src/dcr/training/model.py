"""What is trained: the image tower and the projector, as one module whose forward gives the UNet's conditions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from torch import nn

from dcr.backbones import Backbone, lora_targets, merge_lora, split_attention
from dcr.errors import UserError
from dcr.projector import Projector


class ConditionModel(nn.Module):
    """Image tower and projector.

    Shape: pixels (B, 3, H, W) in [0, 1] -> image features (B, d), projections (B, m).
    """

    def __init__(self, backbone: Backbone, projector: Projector) -> None:
        super().__init__()
        self.backbone = backbone
        self.tower = backbone.visual  # registered here so that its parameters are found; the backbone calls it
        self.projector = projector

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.backbone.encode_image(pixels)
        return features, self.projector(features)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that training may change, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def freeze_for_stage1(model: ConditionModel) -> None:
    """Leave only the projector trainable."""
    model.requires_grad_(False)
    model.projector.requires_grad_(True)


@dataclass(frozen=True)
class LoraOptions:
    """Rank, scaling, dropout and which biases train; see conf/base/parameters_training.yml."""

    rank: int
    alpha: float
    dropout: float
    bias: str


def add_lora(backbone: Backbone, options: LoraOptions) -> LoraConfig:
    """Put LoRA on the linear layers of the image tower and freeze the rest of it; return PEFT's configuration.

    Fused attention is split into separate q, k, v and output layers first, so that each gets its own factors as
    in the paper. The text tower is not touched.
    """
    split_attention(backbone.visual)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        bias=options.bias,
        target_modules=lora_targets(backbone.visual),
    )
    backbone.visual.requires_grad_(False)
    inject_adapter_in_model(config, backbone.visual)
    return config


def adapter_state(backbone: Backbone) -> dict[str, torch.Tensor]:
    """Return the adapter's weights on the CPU, in PEFT's names."""
    state = get_peft_model_state_dict(backbone.visual)
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def merge_adapter(backbone: Backbone, options: LoraOptions, state: dict[str, torch.Tensor]) -> LoraConfig:
    """Add a trained adapter to the image tower's weights, in place; return PEFT's configuration.

    Raises:
        UserError: the adapter was trained on another tower.
    """
    config = add_lora(backbone, options)
    own = adapter_state(backbone)
    if own.keys() != state.keys() or any(own[name].shape != state[name].shape for name in own):
        raise UserError(
            f"the adapter does not fit the image tower of {backbone.source} with rank {options.rank}; "
            "train it again with `kedro run --pipelines training`"
        )
    set_peft_model_state_dict(backbone.visual, state)
    merge_lora(backbone.visual)
    return config
