"""The linear layer at a tower's end, and linear maps of the embedding folded into it.

A map behind a linear layer is a linear layer: ``(x W + b) M = x (W M) + b M``. The model keeps its
architecture, and whatever lies before the layer, patch tokens among it, keeps its values bit for
bit.

Notation: w width of the layer's input, d width of the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Projection:
    """Where a tower's last linear layer lies in its model's state.

    Attributes:
        weight: name of the weight.
        bias: name of the bias, None without one.
        is_input_first: whether the weight is (w, d), as the bare parameters of open_clip are; else
            it is (d, w), as that of ``nn.Linear`` is.
    """

    weight: str
    bias: str | None = None
    is_input_first: bool = False

    @classmethod
    def of(cls, layer: nn.Linear | nn.Parameter, name: str) -> Projection:
        """Return the projection of ``layer``, or a bare parameter (w, d), of the full ``name``."""
        if isinstance(layer, nn.Parameter):
            return cls(name, is_input_first=True)
        return cls(f"{name}.weight", None if layer.bias is None else f"{name}.bias")

    def fold(self, model: nn.Module, matrix: torch.Tensor) -> None:
        """Put a map behind the layer, in place: its output (B, d) is multiplied by ``matrix``.

        Args:
            model: the model whose state the names are of.
            matrix: the map, (d, d), of any floating dtype; the product is computed in float64.
        """
        matrix = matrix.detach().double().cpu()
        _multiply(model.get_parameter(self.weight), matrix, self.is_input_first)
        if self.bias is not None:
            _multiply(model.get_parameter(self.bias), matrix, is_input_first=True)


@torch.no_grad()
def _multiply(parameter: nn.Parameter, matrix: torch.Tensor, is_input_first: bool) -> None:
    weight = parameter.detach().double().cpu()
    parameter.copy_(weight @ matrix if is_input_first else matrix.T @ weight)
