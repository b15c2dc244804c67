"""The projector: from an image embedding to the condition of the UNet."""

from __future__ import annotations

import torch
from torch import nn


class Projector(nn.Sequential):
    """LayerNorm -> Linear -> GELU -> Linear, from the image embedding to the UNet's cross-attention width.

    Args:
        in_features: width d of the image embedding before L2 normalisation (768 for ViT-L/14).
        out_features: the UNet's ``cross_attention_dim`` m (1024 for Stable Diffusion 2.1).

    Shape: (B, d) -> (B, m). Source: DCR, arXiv 2603.04803, section on the projector.

    Example:
        >>> projector = Projector(768, 1024)
        >>> projector(torch.randn(2, 768)).shape
        torch.Size([2, 1024])
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(
            nn.LayerNorm(in_features),
            nn.Linear(in_features, out_features),
            nn.GELU(),
            nn.Linear(out_features, out_features),
        )

    def extra_repr(self) -> str:
        return f"in_features={self[1].in_features}, out_features={self[1].out_features}"


def condition(empty_prompt: torch.Tensor, projection: torch.Tensor) -> torch.Tensor:
    """Add each image's projection to every token of the empty prompt.

    Args:
        empty_prompt: hidden states of the empty prompt, (1, T, m).
        projection: the projector's output, (B, m).

    Returns:
        encoder_hidden_states, (B, T, m).
    """
    return empty_prompt + projection[:, None, :]
