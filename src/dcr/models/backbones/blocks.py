"""The transformer blocks of an image tower, and which of their linear layers LoRA may touch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

LORA_LAYERS = ("q", "k", "v", "out", "mlp")
"""The layers of a transformer block that LoRA may touch."""


def layers_by_name(name: str) -> frozenset[str]:
    """Return which of `LORA_LAYERS` a linear layer of a block is, as most libraries name them.

    Args:
        name: full name in the tower, such as ``blocks.0.attn.q_proj``.
    """
    *_, parent, own = name.split(".")
    if own in ("q_proj", "k_proj", "v_proj"):
        return frozenset(own[0])
    return frozenset(["out" if "attn" in parent else "mlp"])


def keep_attention(block: nn.Module) -> None:
    """Change nothing: the linear layers of ``block`` are called as modules already."""


@dataclass(frozen=True)
class Blocks:
    """The residual attention blocks of one make.

    Attributes:
        types: their classes.
        layers_of: from a linear layer's full name to those of `LORA_LAYERS` that it is; several
            where one layer holds q, k and v.
        split: makes the linear layers of a block such that LoRA on them acts, in place, with
            equal results.
    """

    types: tuple[type[nn.Module], ...]
    layers_of: Callable[[str], frozenset[str]] = layers_by_name
    split: Callable[[nn.Module], None] = keep_attention
