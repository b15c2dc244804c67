"""Tiny towers under timm's roof, so that open_clip builds them by name: SigLIP's shape, and two
of EVA's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
from safetensors.torch import save_file
from timm.models import register_model
from timm.models.eva import Eva, _create_eva
from timm.models.vision_transformer import VisionTransformer, _create_vision_transformer

from models import IMAGE_SIZE, randomize, tiny_model_cfg, word_tokenizer

_SIZES = {
    "img_size": IMAGE_SIZE,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 4,
    "mlp_ratio": 2,
}
_SIGLIP = {**_SIZES, "class_token": False, "global_pool": "map"}


@register_model
def vit_tiny_patch8_siglip_32(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    return _create_vision_transformer(
        "vit_tiny_patch8_siglip_32", pretrained, **{**_SIGLIP, **kwargs}
    )


@register_model
def vit_tanh_patch8_siglip_32(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    arguments = {**_SIGLIP, "act_layer": "gelu_tanh", **kwargs}
    return _create_vision_transformer("vit_tanh_patch8_siglip_32", pretrained, **arguments)


@register_model
def eva01_tiny_patch8_32(pretrained: bool = False, **kwargs: Any) -> Eva:
    return _create_eva("eva01_tiny_patch8_32", pretrained, **{**_SIZES, **kwargs})


@register_model
def eva02_tiny_patch8_32(pretrained: bool = False, **kwargs: Any) -> Eva:
    shape = {"qkv_fused": False, "swiglu_mlp": True, "scale_mlp": True, "scale_attn_inner": True}
    rope = {"use_rot_pos_emb": True, "ref_feat_shape": (4, 4)}
    return _create_eva("eva02_tiny_patch8_32", pretrained, **{**_SIZES, **shape, **rope, **kwargs})


def siglip_cfg(timm_model_name: str = "vit_tiny_patch8_siglip_32") -> dict[str, Any]:
    """Return the open_clip ``model_cfg`` of a tiny SigLIP, as those of the real ones are
    written.
    """
    return {
        "embed_dim": 32,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": IMAGE_SIZE,
            "timm_model_name": timm_model_name,
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 8,
            "vocab_size": 32,
            "hf_tokenizer_name": "some/tokenizer",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": 32,
            "heads": 4,
            "layers": 2,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    }


def eva_cfg(timm_model_name: str) -> dict[str, Any]:
    """Return the open_clip ``model_cfg`` of a tiny EVA-CLIP."""
    vision_cfg = {
        "image_size": IMAGE_SIZE,
        "timm_model_name": timm_model_name,
        "timm_model_pretrained": False,
    }
    vision_cfg |= {"timm_pool": "token", "timm_proj": None}
    return tiny_model_cfg(quick_gelu=False, custom_text=True, vision_cfg=vision_cfg)


def tiny_open_clip_siglip(folder: Path, timm_model_name: str = "vit_tiny_patch8_siglip_32") -> Path:
    """Write an open_clip SigLIP folder with its tokenizer and return it."""
    model_cfg = siglip_cfg(timm_model_name)
    parts = {
        key: value
        for key, value in json.loads(json.dumps(model_cfg)).items()
        if key != "custom_text"
    }
    model = open_clip.CustomTextCLIP(**parts)
    randomize(model)
    folder.mkdir(parents=True)
    preprocess_cfg = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    word_tokenizer(folder)
    return folder
