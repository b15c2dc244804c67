"""Full-size models with random weights; most on the meta device: every shape, no memory,
weights never made.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from dcr.models.architectures import (
    DIFFUSION_MODELS,
    build_backbone,
    build_unet,
    build_vae,
    text_config,
)
from dcr.models.backbones import Backbone
from dcr.models.diffusion import Diffusion
from dcr.models.noise_schedule import build_scheduler
from diffusion_models import tiny_diffusion

TEXT_ENCODERS = {name: text_config(name) for name in DIFFUSION_MODELS}


def backbone_on_meta(repo_id: str) -> Backbone:
    """Build a recipe's backbone by its name on the hub."""
    with torch.device("meta"):
        return build_backbone(repo_id)


def unet_on_meta(name: str) -> UNet2DConditionModel:
    """Return the UNet of a diffusion model by its short name, in bfloat16; equal ones are one."""
    width = TEXT_ENCODERS[name].hidden_size
    return _unet(next(n for n, text in TEXT_ENCODERS.items() if text.hidden_size == width))


@cache
def _unet(name: str) -> UNet2DConditionModel:
    with torch.device("meta"):
        return build_unet(name).to(torch.bfloat16).requires_grad_(False)


@cache
def vae_on_meta() -> AutoencoderKL:
    """Build Stable Diffusion's VAE."""
    with torch.device("meta"):
        return build_vae().requires_grad_(False)


def full_size_diffusion(folder: Path) -> Diffusion:
    """Build Stable Diffusion 2.1 with random weights, in memory; its tokenizer knows single
    characters.
    """
    tokenizer = tiny_diffusion(folder).tokenizer
    tokenizer.model_max_length = 77
    unet = build_unet("sd-2.1", sample_size=96)
    text_encoder = CLIPTextModel(TEXT_ENCODERS["sd-2.1"])
    return Diffusion(build_vae(), unet, build_scheduler(), text_encoder, tokenizer)
