"""timm's ViT with attention pooling, SigLIP's image tower, and transformers' configuration of it.

The configuration is read from the modules.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip.timm_model import TimmModel
from timm.layers import AttentionPoolLatent
from timm.models import VisionTransformer
from torch import nn

from dcr.models.backbones.conversion.towers import activation_name, inexpressible

SIGLIP = "a transformers SiglipModel"
"""What messages call the other side."""


def trunk_facts(trunk: VisionTransformer) -> dict[str, Any]:
    """Return what SiglipVisionConfig says of a timm tower."""
    block = trunk.blocks[0]
    height, width = trunk.patch_embed.img_size
    if height != width:
        raise inexpressible("its images are not square", SIGLIP)
    return {
        "image_size": height,
        "patch_size": trunk.patch_embed.patch_size[0],
        "hidden_size": trunk.embed_dim,
        "intermediate_size": block.mlp.fc1.out_features,
        "num_hidden_layers": len(trunk.blocks),
        "num_attention_heads": block.attn.num_heads,
        "hidden_act": activation_name(block.mlp.act),
        "layer_norm_eps": trunk.norm.eps,
    }


def vision_config(visual: TimmModel) -> dict[str, Any]:
    """Return SiglipVisionConfig's values for ``visual``, for which `is_siglip` holds.

    Raises:
        UserError: it has a part that SigLIP lacks.
    """
    trunk = visual.trunk
    pool = visual.trunk.attn_pool
    config = trunk_facts(trunk)
    if (
        trunk.cls_token is not None
        or trunk.reg_token is not None
        or len(visual.head)
        or trunk.num_classes
    ):
        raise inexpressible("its image tower has a class token, registers or a projection", SIGLIP)
    if not isinstance(trunk.norm_pre, nn.Identity) or not isinstance(trunk.fc_norm, nn.Identity):
        raise inexpressible("its image tower has a norm before the blocks or after pooling", SIGLIP)
    if pool.latent_len != 1 or pool.pos_embed is not None or isinstance(pool.q, nn.Identity):
        raise inexpressible("its attention pooling is not SigLIP's", SIGLIP)
    if not isinstance(trunk.blocks[0].ls1, nn.Identity) or not isinstance(
        trunk.blocks[0].attn.q_norm, nn.Identity
    ):
        raise inexpressible("its blocks have layer scale or normalised queries", SIGLIP)
    return config


def is_siglip(visual: nn.Module) -> bool:
    """Tell whether open_clip's ``visual`` is SigLIP's tower: timm's ViT with attention pooling."""
    trunk = getattr(visual, "trunk", None)
    return isinstance(trunk, VisionTransformer) and isinstance(trunk.attn_pool, AttentionPoolLatent)


def timm_name(vision: Any) -> str:
    """Return timm's name of the tower with this configuration; UserError if it has none."""
    import timm

    wanted = {
        key: getattr(vision, key)
        for key in ("image_size", "patch_size", "hidden_size", "hidden_act")
    }
    wanted |= {
        key: getattr(vision, key)
        for key in ("num_hidden_layers", "num_attention_heads", "intermediate_size")
    }
    for name in timm.list_models(f"*patch{vision.patch_size}_siglip_{vision.image_size}"):
        with torch.device("meta"):
            facts = trunk_facts(timm.create_model(name, num_classes=0))
        if (
            wanted.items() <= facts.items()
            and abs(facts["layer_norm_eps"] - vision.layer_norm_eps) < 1e-9
        ):
            return str(name)
    raise inexpressible(
        f"timm, which open_clip builds SigLIP's tower with, has none of {vision.image_size} px,"
        f" patch {vision.patch_size}, width {vision.hidden_size} and activation"
        f" {vision.hidden_act}",
        "an open_clip model",
    )
