"""The projector: from what an image tower says of an image to the condition of the UNet.

Notation: B batch, d width of the image embedding, w of a patch token, P patches, T tokens of a
prompt, m the UNet's cross-attention width.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import nn

from dcr.errors import UserError
from dcr.finite import require_finite

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone


class Projector(nn.Sequential):
    """LayerNorm -> Linear -> GELU -> Linear, from image embedding to cross-attention width.

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


class TokenProjector(nn.Module):
    """Projects image embedding and patch tokens to condition tokens, each by its `Projector`.

    Args:
        embed_dim: width d of the image embedding.
        token_dim: width w of the patch tokens.
        out_features: m.

    Shape: (B, d), (B, P, w) -> (B, 1 + P, m).
    """

    def __init__(self, embed_dim: int, token_dim: int, out_features: int) -> None:
        super().__init__()
        self.embedding = Projector(embed_dim, out_features)
        self.patches = Projector(token_dim, out_features)

    def forward(self, features: torch.Tensor, patch_tokens: torch.Tensor) -> torch.Tensor:
        """Return condition tokens of ``features``, (B, d), then of ``patch_tokens``, (B, P, w)."""
        return torch.cat([self.embedding(features)[:, None], self.patches(patch_tokens)], dim=1)


def build_projector(backbone: Backbone, out_features: int, kind: str) -> Projector | TokenProjector:
    """Return an untrained projector for a tower.

    Args:
        backbone: whose tower it is; its widths d and w are taken.
        out_features: the UNet's ``cross_attention_dim`` m.
        kind: ``broadcast``, one vector for all tokens of the empty prompt, or ``patch_tokens``,
            tokens beside them.
    """
    if kind == "broadcast":
        return Projector(backbone.embed_dim, out_features)
    with torch.no_grad():
        size = backbone.image_size
        tokens = backbone.encode_tokens(torch.zeros(1, 3, size, size, device=backbone.device))[1]
    return TokenProjector(backbone.embed_dim, tokens.shape[-1], out_features)


def project(
    backbone: Backbone, projector: nn.Module, pixels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return image features (B, d) and their projections, (B, m) or (B, 1 + P, m).

    Args:
        backbone: encodes the images.
        projector: a `TokenProjector` also sees the patch tokens.
        pixels: (B, 3, H, W) in [0, 1].
    """
    if isinstance(projector, TokenProjector):
        features, patch_tokens = backbone.encode_tokens(pixels)
        return features, projector(features, patch_tokens)
    features = backbone.encode_image(pixels)
    return features, projector(features)


def load_published_projector(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a `Projector`'s weights: our safetensors, or a published ``.bin``.

    The latter is called ``checkpoint-project-clip-{step}.bin``. A ``.bin`` is read with
    ``weights_only=True``. Prefixes such as ``module.`` or ``project_clip.``, which training
    wrappers leave, are taken off. The result is float32, under this module's names.

    Args:
        path: of the file; without the suffix ``.safetensors`` it is read as a ``.bin``.

    Raises:
        UserError: the file is missing, unsafe, or holds something else than a projector.
    """
    path = Path(path)
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, "cpu", weights_only=True)
        )
        state = {".".join(name.split(".")[-2:]): tensor.float() for name, tensor in state.items()}
        out_features, in_features = state["1.weight"].shape
        Projector(in_features, out_features).load_state_dict(state)
        require_finite(state, "its weights", "they cannot be used")
    except Exception as exc:  # whatever a foreign file may raise
        reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise UserError(
            f"{path} is not a projector's checkpoint ({reason}): give one of stage 1"
        ) from exc
    return state


def condition(empty_prompt: torch.Tensor, projection: torch.Tensor) -> torch.Tensor:
    """Join the empty prompt and each image's projection.

    Args:
        empty_prompt: hidden states of the empty prompt, (1, T, m).
        projection: (B, m), which is added to every token, or (B, P, m), which are further tokens.

    Returns:
        encoder_hidden_states, (B, T, m) or (B, T + P, m).
    """
    if projection.ndim == 2:
        return empty_prompt + projection[:, None, :]
    return torch.cat(
        [empty_prompt.to(projection).expand(len(projection), -1, -1), projection], dim=1
    )
