"""Models of open_clip with an image tower that timm builds, such as EVA-CLIP and SigLIP."""

from __future__ import annotations

from typing import Any

from timm.models.eva import EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block
from torch import nn

from dcr.models.backbones.blocks import Blocks, layers_by_name
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from dcr.models.backbones.open_clip.source import names_timm_tower


def _layers_of(name: str) -> frozenset[str]:
    """See `Blocks.layers_of`: timm's ViT and EVA-01 have one layer for q, k and v."""
    return frozenset("qkv") if name.endswith(".qkv") else layers_by_name(name)


def _add_bias_afterwards(block: nn.Module) -> None:
    """Have EVA's fused q, k and v called as a layer, with the bias added behind it.

    timm can do either, with equal results.
    """
    for module in block.modules():
        if isinstance(module, EvaAttention):
            module.qkv_bias_separate = True


class TimmBackbone(OpenClipBackbone):
    """A backbone around an open_clip model whose image tower is timm's."""

    blocks = Blocks((Block, EvaBlock, EvaBlockPostNorm), _layers_of, _add_bias_afterwards)
    # open_clip's head behind timm's trunk, or the trunk's own classifier
    image_projections = ("head.proj", "head.mlp.fc2", "trunk.head")

    @classmethod
    def takes(cls, model_cfg: dict[str, Any]) -> bool:
        """See `OpenClipBackbone.takes`, of ``model_cfg``."""
        return names_timm_tower(model_cfg)


FAMILY = TimmBackbone
