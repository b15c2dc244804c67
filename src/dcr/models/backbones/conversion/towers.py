"""What towers of open_clip and of transformers have in common: names, sizes, activations.

Configurations are read from the modules, not from names.
"""

from __future__ import annotations

from typing import Any

from open_clip import transformer as open_clip_layers
from timm.layers import GELUTanh
from torch import nn

from dcr.errors import UserError

BLOCK_NAMES = [  # (open_clip, transformers), parts of a name inside a tower
    ("transformer.resblocks.", "encoder.layers."),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".attn.", ".self_attn."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
]
TEXT_NAMES = [
    ("token_embedding.weight", "embeddings.token_embedding.weight"),
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("ln_final.", "final_layer_norm."),
    *BLOCK_NAMES,
]
QKV = ("q_proj", "k_proj", "v_proj")


def tower_config(transformer: Any, norm: nn.LayerNorm) -> dict[str, Any]:
    """Return transformers' values for open_clip's ``transformer`` and the ``norm`` behind it."""
    block = transformer.resblocks[0]
    if not isinstance(block, open_clip_layers.ResidualAttentionBlock) or not isinstance(
        block.ls_1, nn.Identity
    ):
        raise inexpressible(
            "its blocks have layer scale or another attention than the standard one"
        )
    return {
        "hidden_size": transformer.width,
        "intermediate_size": block.mlp.c_fc.out_features,
        "num_hidden_layers": len(transformer.resblocks),
        "num_attention_heads": block.attn.num_heads,
        "hidden_act": activation_name(block.mlp.gelu),
        "layer_norm_eps": norm.eps,
    }


def activation_name(module: nn.Module) -> str:
    """Return transformers' name of an activation ``module``; UserError where it has none."""
    if isinstance(module, open_clip_layers.QuickGELU):
        return "quick_gelu"
    if isinstance(module, nn.GELU):
        return "gelu" if module.approximate == "none" else "gelu_pytorch_tanh"
    if isinstance(module, GELUTanh):
        return "gelu_pytorch_tanh"
    raise inexpressible(f"its activation is {type(module).__name__}")


def tower_cfg(config: Any) -> dict[str, Any]:
    """Return open_clip's values for a tower, from its ``config`` of transformers."""
    ratio = config.intermediate_size / config.hidden_size
    if int(config.hidden_size * ratio) != config.intermediate_size:
        ratio += 1e-9  # open_clip rounds width * ratio down
    cfg = {"width": config.hidden_size, "layers": config.num_hidden_layers, "mlp_ratio": ratio}
    if config.layer_norm_eps != 1e-5:
        cfg["norm_kwargs"] = {"eps": config.layer_norm_eps}
    if config.hidden_act == "gelu_pytorch_tanh":
        cfg["act_kwargs"] = {"approximate": "tanh"}
    return cfg


def rename(name: str, names: list[tuple[str, str]]) -> str:
    """Replace in ``name`` the first part of each pair of ``names`` by the second, in order."""
    for old, new in names:
        name = name.replace(old, new)
    return name


def inexpressible(reason: str, target: str = "a transformers CLIPModel") -> UserError:
    """Return the error that ``target`` cannot express something, for the ``reason`` given."""
    return UserError(f"The model cannot be written as {target}: {reason}.")
