"""The configurations that the shipped recipes' models have on the hub: every shape before anything
is downloaded.

Weights are random, or none under ``torch.device("meta")`` and on tensors without memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import (
    BatchEncoding,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    SiglipConfig,
    SiglipModel,
)

from dcr.models.backbones import Backbone, Preprocessing
from dcr.models.backbones.families.clip import ClipBackbone
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from dcr.models.backbones.families.siglip import SiglipBackbone
from dcr.models.diffusion import Diffusion
from dcr.models.noise_schedule import build_scheduler


def _tower(width: int, hidden: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


_B_TEXT = _tower(512, 2048, 12, 8)
_L_TEXT = _tower(768, 3072, 12, 12)
_H_TEXT = _tower(1024, 4096, 24, 16)
_B = _tower(768, 3072, 12, 12)
_L = _tower(1024, 4096, 24, 16)
_H = _tower(1280, 5120, 32, 16)
_SO = _tower(1152, 4304, 27, 16)

# Image tower, text tower, width of the embedding, pixels and patch size, by names on the hub.
_CLIP: dict[str, tuple[dict[str, int], dict[str, int], int, int, int]] = {
    "openai/clip-vit-base-patch16": (_B, _B_TEXT, 512, 224, 16),
    "openai/clip-vit-large-patch14": (_L, _L_TEXT, 768, 224, 14),
    "openai/clip-vit-large-patch14-336": (_L, _L_TEXT, 768, 336, 14),
    "facebook/metaclip-l14-fullcc2.5b": (_L, _L_TEXT, 768, 224, 14),
    "facebook/metaclip-h14-fullcc2.5b": (_H, _H_TEXT, 1024, 224, 14),
}
# Pixels, vocabulary and context length.
_SIGLIP = {
    "google/siglip-so400m-patch14-224": (224, 32000, 16),
    "google/siglip-so400m-patch14-384": (384, 32000, 64),
    "google/siglip2-so400m-patch14-384": (384, 256000, 64),
}
_OPEN_CLIP = {
    "apple/DFN5B-CLIP-ViT-H-14": "ViT-H-14-quickgelu",
    "apple/DFN5B-CLIP-ViT-H-14-378": "ViT-H-14-378-quickgelu",
}
BACKBONES = (*_CLIP, *_SIGLIP, *_OPEN_CLIP)
"""Names on the hub of the backbones whose configurations are here."""

# UNet and text encoder of the diffusion models; the VAE is the same in all.
_SD1: dict[str, Any] = {"cross_attention_dim": 768, "attention_head_dim": 8}
_SD2: dict[str, Any] = {
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
_UNETS = {"sd-1.4": _SD1, "sd-1.5": _SD1, "sd-2.1-base": _SD2, "sd-2.1": _SD2}
DIFFUSION_MODELS = (*_UNETS,)
"""Short names of the diffusion models whose configurations are here."""


def build_backbone(repo_id: str) -> Backbone:
    """Build the backbone that ``repo_id``, one of `BACKBONES`, holds."""
    if repo_id in _OPEN_CLIP:
        return OpenClipBackbone.build(open_clip.get_model_config(_OPEN_CLIP[repo_id]))
    if repo_id in _CLIP:
        vision, text, projection_dim, image_size, patch_size = _CLIP[repo_id]
        config = CLIPConfig(
            vision_config={**vision, "image_size": image_size, "patch_size": patch_size},
            text_config=text,
            projection_dim=projection_dim,
        )
        return transformers_backbone(config)
    image_size, vocab_size, length = _SIGLIP[repo_id]
    text = {**_SO, "vocab_size": vocab_size, "max_position_embeddings": length}
    vision = {**_SO, "image_size": image_size, "patch_size": 14}
    return transformers_backbone(SiglipConfig(vision_config=vision, text_config=text))


def transformers_backbone(config: CLIPConfig | SiglipConfig) -> Backbone:
    """Build the CLIPModel or SiglipModel of ``config`` with its library's own preprocessing."""
    image_size = config.vision_config.image_size
    nowhere = Path("random weights")
    if isinstance(config, CLIPConfig):
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        preprocessing = Preprocessing(image_size, mean, std, "bicubic", "shortest")
        return ClipBackbone(CLIPModel(config), preprocessing, nowhere)
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(image_size, half, half, "bicubic", "squash")
    return SiglipBackbone(SiglipModel(config), preprocessing, nowhere)


def build_unet(name: str, sample_size: int = 64) -> UNet2DConditionModel:
    """Build the UNet of a diffusion model.

    Args:
        name: one of `DIFFUSION_MODELS`.
        sample_size: side of the latents that its configuration names.
    """
    return UNet2DConditionModel(sample_size=sample_size, **_UNETS[name])


def build_vae() -> AutoencoderKL:
    """Build Stable Diffusion's VAE."""
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[128, 256, 512, 512],
        layers_per_block=2,
        latent_channels=4,
    )


def text_config(name: str) -> CLIPTextConfig:
    """Return the configuration of the text encoder of ``name``, one of `DIFFUSION_MODELS`."""
    size = _L_TEXT if _UNETS[name] is _SD1 else {**_H_TEXT, "num_hidden_layers": 23}
    return CLIPTextConfig(**size)


def build_diffusion(name: str) -> Diffusion:
    """Build the diffusion model ``name``, one of `DIFFUSION_MODELS`, with a blank tokenizer."""
    text = CLIPTextModel(text_config(name))
    tokenizer: Any = BlankTokenizer(text.config.max_position_embeddings)
    return Diffusion(build_vae(), build_unet(name), build_scheduler(), text, tokenizer, name)


class BlankTokenizer:
    """Makes tokens of the right number, all 0.

    Args:
        model_max_length: T, of every prompt.
    """

    def __init__(self, model_max_length: int) -> None:
        self.model_max_length = model_max_length

    def __call__(self, prompts: list[str], **_: Any) -> BatchEncoding:
        """Return ``input_ids`` and ``attention_mask`` of N ``prompts``, each (N, T) int64."""
        ids = torch.zeros(len(prompts), self.model_max_length, dtype=torch.long)
        return BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
