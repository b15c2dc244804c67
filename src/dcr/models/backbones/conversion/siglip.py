"""open_clip's SigLIP and transformers' SiglipModel, each from the other, weights bit for bit.

open_clip's is a timm tower with attention pooling. transformers states every size in its
configuration; open_clip names one of timm's models, so that way is open only where timm has one of
the same shape (`dcr.models.backbones.conversion.timm_vit`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import SiglipConfig, SiglipModel

from dcr.models.backbones.attention import fused_state_dict
from dcr.models.backbones.conversion.timm_vit import SIGLIP, timm_name, vision_config
from dcr.models.backbones.conversion.towers import (
    QKV,
    TEXT_NAMES,
    inexpressible,
    rename,
    tower_cfg,
    tower_config,
)

_VISION_NAMES = [  # (timm, transformers)
    ("trunk.patch_embed.proj.", "embeddings.patch_embedding."),
    ("trunk.pos_embed", "embeddings.position_embedding.weight"),
    ("trunk.blocks.", "encoder.layers."),
    ("trunk.norm.", "post_layernorm."),
    ("trunk.attn_pool.latent", "head.probe"),
    ("trunk.attn_pool.proj.", "head.attention.out_proj."),
    ("trunk.attn_pool.norm.", "head.layernorm."),
    ("trunk.attn_pool.mlp.", "head.mlp."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".attn.proj.", ".self_attn.out_proj."),
    (".attn.qkv.", ".self_attn.qkv."),
]


def to_siglip_model(model: Any) -> SiglipModel:
    """Return ``model`` as a SiglipModel of equal features and logits.

    It is an open_clip CustomTextCLIP with SigLIP's tower.

    Raises:
        UserError: the model has a part that SiglipModel lacks.
    """
    if getattr(model, "logit_bias", None) is None:
        raise inexpressible("it has no logit bias", SIGLIP)
    config = SiglipConfig(
        vision_config=vision_config(model.visual), text_config=_text_config(model.text)
    )
    with torch.random.fork_rng(devices=[]):  # the random weights are overwritten at once
        siglip = SiglipModel(config)
    siglip.load_state_dict(_to_siglip_state(fused_state_dict(model)))
    return siglip.eval()


def siglip_to_open_clip(siglip: SiglipModel) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return ``model_cfg`` and state of the open_clip model that equals the SiglipModel ``siglip``.

    Raises:
        UserError: timm has no tower of this shape and activation, or the text tower is none of
            open_clip's.
    """
    vision = siglip.config.vision_config
    text = siglip.config.text_config
    if text.hidden_act not in ("gelu", "gelu_pytorch_tanh"):
        raise inexpressible(
            f"its text tower's activation is {text.hidden_act}", "an open_clip model"
        )
    model_cfg = {
        "embed_dim": vision.hidden_size,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": vision.image_size,
            "timm_model_name": timm_name(vision),
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "heads": text.num_attention_heads,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            **tower_cfg(text),
        },
    }
    return model_cfg, _to_open_clip_state(siglip.state_dict())


def to_siglip_adapter(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a LoRA adapter's ``weights`` on timm's tower under SiglipModel's names.

    The weights are by module name. timm's q, k and v are one layer. Its factor A serves all three,
    factor B and bias are cut in three: the products are the same.
    """
    converted = {}
    for name, tensor in weights.items():
        renamed = "vision_model." + rename(name, _VISION_NAMES)
        if ".self_attn.qkv." not in renamed:
            converted[renamed] = tensor
            continue
        parts = [tensor] * 3 if ".lora_A." in renamed else tensor.chunk(3)
        for projection, part in zip(QKV, parts, strict=True):
            converted[renamed.replace(".qkv.", f".{projection}.")] = part.contiguous()
    return converted


def _text_config(text: Any) -> dict[str, Any]:
    pool_type = getattr(text, "pool_type", None)  # a tower from transformers has none
    if pool_type != "last" or text.attn_mask is not None or text.cls_emb is not None:
        raise inexpressible(
            "its text tower is not bidirectional and pooled at the last token", SIGLIP
        )
    if getattr(text.text_projection, "bias", None) is None:
        raise inexpressible("its text projection has no bias", SIGLIP)
    return {
        "vocab_size": text.token_embedding.num_embeddings,
        "max_position_embeddings": text.positional_embedding.shape[0],
        "projection_size": text.text_projection.out_features,
        **tower_config(text.transformer, text.ln_final),
    }


def _to_siglip_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    converted = {name: state.pop(name).reshape(1) for name in ("logit_scale", "logit_bias")}
    pool = "visual.trunk.attn_pool."
    for kind in ("weight", "bias"):
        converted[f"vision_model.head.attention.in_proj_{kind}"] = torch.cat(
            [state.pop(f"{pool}q.{kind}"), state.pop(f"{pool}kv.{kind}")]
        )
    for name, tensor in state.items():
        if name.startswith("visual."):
            renamed = "vision_model." + rename(name.removeprefix("visual."), _VISION_NAMES)
            tensor = tensor[0] if renamed.endswith("position_embedding.weight") else tensor
        else:
            text = name.removeprefix("text.").replace("text_projection.", "head.")
            renamed = "text_model." + rename(text, TEXT_NAMES).replace("in_proj_", "qkv.")
        if ".self_attn.qkv." not in renamed:
            converted[renamed] = tensor
            continue
        for projection, part in zip(QKV, tensor.chunk(3), strict=True):
            converted[renamed.replace(".qkv.", f".{projection}.")] = part.contiguous()
    return converted


def _to_open_clip_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    converted = {name: state.pop(name).reshape(()) for name in ("logit_scale", "logit_bias")}
    for kind in ("weight", "bias"):
        fused = state.pop(f"vision_model.head.attention.in_proj_{kind}")
        width = len(fused) // 3
        converted[f"visual.trunk.attn_pool.q.{kind}"] = fused[:width].contiguous()
        converted[f"visual.trunk.attn_pool.kv.{kind}"] = fused[width:].contiguous()
    for name, tensor in state.items():
        tower, _, inner = name.partition(".")
        if inner.split(".")[-2] in QKV[1:] or inner.endswith("position_ids"):
            continue
        if ".q_proj." in inner:
            tensor = torch.cat([state[name.replace("q_proj", projection)] for projection in QKV])
            inner = inner.replace(".q_proj.", ".qkv.")
        if tower == "vision_model":
            renamed = "visual." + rename(inner, [(hf, timm) for timm, hf in _VISION_NAMES])
            tensor = tensor[None] if renamed == "visual.trunk.pos_embed" else tensor
        else:
            inner = inner.replace(".qkv.", ".in_proj_").replace("head.", "text_projection.")
            renamed = "text." + rename(inner, [(hf, own) for own, hf in TEXT_NAMES])
        converted[renamed] = tensor
    return converted
