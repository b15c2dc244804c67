"""The ``model_cfg`` of an open_clip model as checked data.

Of a folder nothing reaches open_clip but the keys listed here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dcr.errors import UserError
from dcr.models.model_configs import only, pick

_TOP = (
    *("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text"),
    *("init_logit_scale", "init_logit_bias", "nonscalar_logit_scale"),
)
_BLOCKS = (
    *(
        "block_type",
        "qk_norm",
        "scaled_cosine_attn",
        "scale_heads",
        "scale_attn_inner",
        "scale_attn",
        "scale_fc",
    ),
    *("layers", "width", "mlp_ratio", "ls_init_value", "act_kwargs", "norm_kwargs", "pool_type"),
    *("final_ln_after_pool", "output_tokens"),
)
_VISION = (
    *(
        *_BLOCKS,
        "head_width",
        "patch_size",
        "image_size",
        "patch_dropout",
        "no_ln_pre",
        "pos_embed_type",
    ),
    *(
        "attentional_pool",
        "attn_pooler_queries",
        "attn_pooler_heads",
        "timm_model_name",
        "timm_model_pretrained",
    ),
    *("timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path"),
)
_TEXT = (
    *(
        *_BLOCKS,
        "context_length",
        "vocab_size",
        "heads",
        "embed_cls",
        "pad_id",
        "eos_id",
        "no_causal_mask",
    ),
    *("proj_bias", "proj_type", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs"),
)
_INNER = {
    "act_kwargs": ("approximate",),
    "norm_kwargs": ("eps",),
    "tokenizer_kwargs": ("clean", "strip_sep_token"),
}


def checked_model_cfg(model_cfg: Any, path: Path) -> dict[str, Any]:
    """Return a ``model_cfg`` all of whose keys are known and harmless.

    Args:
        model_cfg: as ``open_clip_config.json`` holds it.
        path: where it stands, for messages.

    Raises:
        UserError: names the key that is not.
    """
    lacking = {"embed_dim", "vision_cfg", "text_cfg"} - set(pick(model_cfg, _TOP, path))
    if lacking:
        raise UserError(
            f"{path}: model_cfg lacks {', '.join(sorted(lacking))}: replace it by the one of the"
            " model"
        )
    if "multimodal_cfg" in model_cfg:
        raise UserError(
            f"{path} describes a CoCa; only CLIP and CustomTextCLIP models of open_clip have the"
            " image embedding that training needs: choose one of those."
        )
    if pick(model_cfg["text_cfg"], ["hf_model_name"], path).get("hf_model_name"):
        raise UserError(
            f"{path}: the text tower is built from another repository,"
            f" {model_cfg['text_cfg']['hf_model_name']}, which is not read here: choose a model"
            " with open_clip's own text tower"
        )
    checked = only(model_cfg, _TOP, path, "model_cfg")
    for name, allowed in (("vision_cfg", _VISION), ("text_cfg", _TEXT)):
        tower = only(checked[name], allowed, path, name)
        for key in _INNER.keys() & tower.keys():
            inner = only(tower[key] or {}, _INNER[key], path, f"{name}.{key}")
            if not isinstance(inner.get("eps", 0.0), int | float):
                raise UserError(f"{path}: {name}.{key}.eps must be a number, got {inner['eps']!r}")
        tower.pop("output_tokens", None)  # the towers' own default; DCR asks for tokens by itself
        checked[name] = tower
    _check_timm(checked, path)
    return checked


def _check_timm(model_cfg: dict[str, Any], path: Path) -> None:
    import timm

    vision = model_cfg["vision_cfg"]
    name = vision.get("timm_model_name")
    if "timm_model_pretrained" in vision:
        vision["timm_model_pretrained"] = False
    if not name:
        return
    if (
        not isinstance(name, str)
        or not name.replace("_", "").replace(".", "").isalnum()
        or not timm.is_model(name)
    ):
        raise UserError(
            f"{path}: timm_model_name must be the name of a model in timm, got {name!r}"
        )
