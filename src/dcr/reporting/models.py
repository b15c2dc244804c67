"""The models of a run in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone
    from dcr.models.diffusion import Diffusion


def describe(
    backbone: Backbone, diffusion: Diffusion, projector: nn.Module
) -> list[tuple[str, str]]:
    """Return lines of (part, what it is) on the models that a run started from.

    They are ``backbone``, ``projector`` and ``diffusion``.
    """
    unet = diffusion.unet.config
    vae = diffusion.vae.config
    scheduler = diffusion.scheduler.config
    return [
        ("Backbone", backbone.source),
        (
            "Image tower",
            f"{_weights(backbone.visual)}, {backbone.image_size} px, {backbone.embed_dim} features",
        ),
        ("Projector", f"{_weights(projector)}, {backbone.embed_dim} to {unet.cross_attention_dim}"),
        (
            "UNet, frozen",
            f"{_weights(diffusion.unet)}, predicts {scheduler.prediction_type.replace('_', '-')}",
        ),
        ("VAE, frozen", f"{_weights(diffusion.vae)}, {vae.latent_channels} latent channels"),
    ]


def _weights(module: nn.Module) -> str:
    number = sum(parameter.numel() for parameter in module.parameters())
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {letter} weights"
    return f"{number} weights"
