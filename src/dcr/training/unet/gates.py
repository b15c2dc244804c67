"""The UNet's gated feed-forward layers as two products in place of one that is halved.

diffusers' `GEGLU` multiplies by one matrix, eight times as high as wide, and takes the halves of
the product, ``value * gelu(gate)``. Autograd finds the gradients of the halves apart and copies
both into one tensor, the widest of the block, before it multiplies back. Two products by the halves
of the matrix need no such copy, take the same multiplications, and sum the same numbers but for the
order.

Notation: N sequences, L places, w width in, u width out.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.activations import GEGLU
from torch import nn
from torch.nn import functional as F


class SplitGEGLU(GEGLU):  # type: ignore[misc]  # diffusers' types are not read
    """Takes the place of a `GEGLU`, whose projection it shares.

    Compiled code has no copy either, and takes the layer's own way.

    Shape: (N, L, w) -> (N, L, u).

    Args:
        layer: what it takes the place of.
    """

    def __init__(self, layer: GEGLU) -> None:
        nn.Module.__init__(self)  # the layer's own would draw a projection
        self.proj = layer.proj
        self.train(layer.training)

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the values times the gates that were opened."""
        if torch.compiler.is_compiling():
            whole: torch.Tensor = super().forward(hidden_states, *args, **kwargs)
            return whole
        value_weight, gate_weight = self.proj.weight.chunk(2)
        value_bias, gate_bias = (None, None) if self.proj.bias is None else self.proj.bias.chunk(2)
        value = F.linear(hidden_states, value_weight, value_bias)
        return value * F.gelu(F.linear(hidden_states, gate_weight, gate_bias))


def split_gates(unet: nn.Module) -> None:
    """Split every `GEGLU` of ``unet`` whose projection is a plain linear layer, in place.

    Args:
        unet: frozen. One that was split before is left as it is.
    """
    for parent in list(unet.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is GEGLU and type(layer.proj) is nn.Linear:
                setattr(parent, name, SplitGEGLU(layer))
