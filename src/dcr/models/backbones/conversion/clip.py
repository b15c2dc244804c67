"""open_clip's CLIP and transformers' CLIPModel: the same network under two sets of names.

What the other side cannot express is a UserError that says what it is. Both directions copy weights
bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip import transformer as open_clip_layers
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTextModel

from dcr.errors import UserError
from dcr.models.backbones.attention import fused_state_dict
from dcr.models.backbones.conversion.towers import (
    BLOCK_NAMES,
    QKV,
    TEXT_NAMES,
    inexpressible,
    rename,
    tower_cfg,
    tower_config,
)

_VISION_NAMES = [
    ("conv1.weight", "embeddings.patch_embedding.weight"),
    ("class_embedding", "embeddings.class_embedding"),
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("ln_pre.", "pre_layrnorm."),
    ("ln_post.", "post_layernorm."),
    *BLOCK_NAMES,
]
# transformers reads this eos_token_id as "pool at the highest token id", as open_clip does.
_ARGMAX_EOS = 2


def to_clip_model(model: Any, eos_token_id: int) -> CLIPModel:
    """Return an open_clip CLIP or CustomTextCLIP as a CLIPModel with equal features and logits.

    Args:
        model: a native ViT with class-token pooling, and a causal text transformer pooled at the
            end token.
        eos_token_id: the tokenizer's end token, at which transformers pools.

    Raises:
        UserError: the model has a part that CLIPModel lacks.
    """
    if getattr(model, "logit_bias", None) is not None:
        raise inexpressible("it has a logit bias")
    text = getattr(model, "text", model)
    config = CLIPConfig(
        vision_config=_vision_config(model.visual),
        text_config=_text_config(text, eos_token_id),
        projection_dim=model.visual.proj.shape[1],
    )
    with torch.random.fork_rng(devices=[]):  # the random weights are overwritten at once
        clip_model = CLIPModel(config)
    clip_model.load_state_dict(_to_clip_state(fused_state_dict(model)))
    return clip_model.eval()


def to_clip_text_model(model: Any, eos_token_id: int) -> CLIPTextModel:
    """Return open_clip's text tower as a CLIPTextModel, without projection; see `to_clip_model`.

    The tower is that of ``model``. Its last hidden state, (N, T, width), equals open_clip's tokens
    after ``ln_final``; what Stable Diffusion reads. At ``eos_token_id``, the tokenizer's end token,
    its pooled output is taken.
    """
    clip_model = to_clip_model(model, eos_token_id)
    with torch.random.fork_rng(devices=[]):
        text_model = CLIPTextModel(clip_model.config.text_config)
    # before transformers 5 the tower is a submodule of CLIPTextModel
    getattr(text_model, "text_model", text_model).load_state_dict(
        clip_model.text_model.state_dict()
    )
    return text_model.eval()


def to_open_clip(clip_model: CLIPModel) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return ``model_cfg`` and state of the open_clip CLIP that equals ``clip_model``.

    UserError if open_clip's CLIP lacks a part, such as towers with different activations.
    """
    vision = clip_model.config.vision_config
    text = clip_model.config.text_config
    if vision.hidden_act != text.hidden_act or vision.hidden_act not in (
        "quick_gelu",
        "gelu",
        "gelu_pytorch_tanh",
    ):
        raise UserError(
            f"The model cannot be written for open_clip: its activations are {vision.hidden_act}"
            f" and {text.hidden_act}, open_clip has one of quick_gelu, gelu and gelu_pytorch_tanh"
            " for both towers."
        )
    highest_is_eos = text.eos_token_id in (_ARGMAX_EOS, text.vocab_size - 1)
    pooling = {} if highest_is_eos else {"pool_type": "eos", "eos_id": text.eos_token_id}
    model_cfg = {
        "embed_dim": clip_model.config.projection_dim,
        "quick_gelu": vision.hidden_act == "quick_gelu",
        "vision_cfg": {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            **tower_cfg(vision),
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "heads": text.num_attention_heads,
            **tower_cfg(text),
            **pooling,
        },
    }
    return model_cfg, _to_open_clip_state(clip_model.state_dict())


def to_clip_module_name(name: str) -> str:
    """Return CLIPModel's name of ``name``, a module or parameter of open_clip's image tower."""
    return "vision_model." + rename(f"{name}.", _VISION_NAMES).removesuffix(".")


def _vision_config(visual: Any) -> dict[str, Any]:
    if not isinstance(visual, open_clip_layers.VisionTransformer):
        raise inexpressible(f"its image tower is a {type(visual).__name__}")
    if visual.attn_pool is not None or visual.pool_type != "tok" or visual.proj is None:
        raise inexpressible("its image tower does not pool the class token and project it")
    if isinstance(visual.ln_pre, nn.Identity):
        raise inexpressible("its image tower has no layer norm before the blocks")
    if visual.image_size[0] != visual.image_size[1] or visual.patch_size[0] != visual.patch_size[1]:
        raise inexpressible("its images or patches are not square")
    return {
        "image_size": visual.image_size[0],
        "patch_size": visual.patch_size[0],
        "projection_dim": visual.proj.shape[1],
        **tower_config(visual.transformer, visual.ln_post),
    }


def _text_config(text: Any, eos_token_id: int) -> dict[str, Any]:
    pool_type = getattr(text, "text_pool_type", None) or getattr(text, "pool_type", None)
    if not hasattr(text, "token_embedding") or getattr(text, "cls_emb", None) is not None:
        raise inexpressible("its text tower is not open_clip's own causal transformer")
    if text.attn_mask is None or pool_type not in ("argmax", "eos"):
        raise inexpressible("its text tower is not causal and pooled at the end token")
    projection = text.text_projection
    if projection is None or getattr(projection, "bias", None) is not None:
        raise inexpressible("its text projection is missing or has a bias")
    eos_id = getattr(text, "text_eos_id", None) or getattr(text, "eos_id", None)
    return {
        "vocab_size": text.token_embedding.num_embeddings,
        "max_position_embeddings": text.positional_embedding.shape[0],
        "eos_token_id": eos_id if pool_type == "eos" else eos_token_id,
        "bos_token_id": eos_token_id - 1,
        "pad_token_id": eos_token_id,
        **tower_config(text.transformer, text.ln_final),
    }


def _to_clip_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    converted = {"logit_scale": state.pop("logit_scale").reshape(())}
    converted["visual_projection.weight"] = state.pop("visual.proj").T.contiguous()
    for name, tensor in state.items():
        is_vision = name.startswith("visual.")
        tower = "vision_model." if is_vision else "text_model."
        inner = name.removeprefix("visual." if is_vision else "text.")
        names = _VISION_NAMES if is_vision else TEXT_NAMES
        # It is a parameter (width, d), or a linear layer's weight (d, width).
        if inner.startswith("text_projection"):
            converted["text_projection.weight"] = (
                tensor if inner.endswith("weight") else tensor.T.contiguous()
            )
            continue
        prefix, fused, kind = rename(inner, names).partition("in_proj_")
        if not fused:
            converted[tower + prefix] = tensor
        for projection, part in zip(QKV, tensor.chunk(3) if fused else (), strict=False):
            converted[f"{tower}{prefix}{projection}.{kind}"] = part.contiguous()
    return converted


def _to_open_clip_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    converted = {
        "logit_scale": state["logit_scale"],
        "visual.proj": state["visual_projection.weight"].T.contiguous(),
        "text_projection": state["text_projection.weight"].T.contiguous(),
    }
    for name, tensor in state.items():
        tower, _, inner = name.partition(".")
        if tower not in ("vision_model", "text_model") or (
            "_proj." in inner and inner.split(".")[-2] in QKV[1:]
        ):
            continue
        if ".q_proj." in inner:
            tensor = torch.cat([state[name.replace("q_proj", projection)] for projection in QKV])
            inner = inner.replace("q_proj.", "in_proj_")
        names = _VISION_NAMES if tower == "vision_model" else TEXT_NAMES
        prefix = "visual." if tower == "vision_model" else ""
        converted[prefix + rename(inner, [(hf, own) for own, hf in names])] = tensor
    converted.pop("visual.embeddings.position_ids", None)  # buffers of old checkpoints
    converted.pop("embeddings.position_ids", None)
    return converted
