"""Full-size models with random weights; most on the meta device: every shape, no memory,
weights never made.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import open_clip
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import (
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
from dcr.models.backbones.transformers.backbone import TransformersBackbone
from dcr.models.diffusion import Diffusion
from diffusion_models import tiny_diffusion

_L_TEXT = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
_B_TEXT = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
}
_H_TEXT = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
_B = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
_L = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
_H = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
}
_SO = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
}


def _clip(
    vision: dict, text: dict, projection_dim: int, image_size: int, patch_size: int
) -> CLIPConfig:
    return CLIPConfig(
        vision_config={**vision, "image_size": image_size, "patch_size": patch_size},
        text_config=text,
        projection_dim=projection_dim,
    )


def _siglip(image_size: int, vocab_size: int, context_length: int) -> SiglipConfig:
    return SiglipConfig(
        vision_config={**_SO, "image_size": image_size, "patch_size": 14},
        text_config={**_SO, "vocab_size": vocab_size, "max_position_embeddings": context_length},
    )


# The configurations that these repositories hold, by their names on the hub.
TRANSFORMERS = {
    "openai/clip-vit-base-patch16": _clip(_B, _B_TEXT, 512, 224, 16),
    "openai/clip-vit-large-patch14": _clip(_L, _L_TEXT, 768, 224, 14),
    "openai/clip-vit-large-patch14-336": _clip(_L, _L_TEXT, 768, 336, 14),
    "facebook/metaclip-l14-fullcc2.5b": _clip(_L, _L_TEXT, 768, 224, 14),
    "facebook/metaclip-h14-fullcc2.5b": _clip(_H, _H_TEXT, 1024, 224, 14),
    "google/siglip-so400m-patch14-224": _siglip(224, 32000, 16),
    "google/siglip-so400m-patch14-384": _siglip(384, 32000, 64),
    "google/siglip2-so400m-patch14-384": _siglip(384, 256000, 64),
}
OPEN_CLIP = {
    "apple/DFN5B-CLIP-ViT-H-14": "ViT-H-14-quickgelu",
    "apple/DFN5B-CLIP-ViT-H-14-378": "ViT-H-14-378-quickgelu",
}
# UNet and text encoder of the four diffusion models; the VAE is the same in all.
_SD1 = {"cross_attention_dim": 768, "attention_head_dim": 8}
_SD2 = {
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
UNETS = {"sd-1.4": _SD1, "sd-1.5": _SD1, "sd-2.1-base": _SD2, "sd-2.1": _SD2}
TEXT_ENCODERS = {
    **dict.fromkeys(("sd-1.4", "sd-1.5"), CLIPTextConfig(**_L_TEXT)),
    **dict.fromkeys(
        ("sd-2.1-base", "sd-2.1"), CLIPTextConfig(**{**_H_TEXT, "num_hidden_layers": 23})
    ),
}


def backbone_on_meta(repo_id: str) -> Backbone:
    """Build a recipe's backbone by its name on the hub."""
    with torch.device("meta"):
        if repo_id in OPEN_CLIP:
            return OpenClipBackbone.build(open_clip.get_model_config(OPEN_CLIP[repo_id]))
        return transformers_backbone(TRANSFORMERS[repo_id])


def transformers_backbone(config: CLIPConfig | SiglipConfig) -> TransformersBackbone:
    """Build a CLIPModel or SiglipModel with its library's own preprocessing."""
    image_size = config.vision_config.image_size
    if isinstance(config, CLIPConfig):
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        preprocessing = Preprocessing(image_size, mean, std, "bicubic", "shortest")
        return ClipBackbone(CLIPModel(config), preprocessing, "random weights")
    preprocessing = Preprocessing(image_size, (0.5,) * 3, (0.5,) * 3, "bicubic", "squash")
    return SiglipBackbone(SiglipModel(config), preprocessing, "random weights")


def unet_on_meta(name: str) -> UNet2DConditionModel:
    """Return the UNet of a diffusion model by its short name, in bfloat16; equal ones are one."""
    return _unet(UNETS[name]["cross_attention_dim"])


@cache
def _unet(cross_attention_dim: int) -> UNet2DConditionModel:
    options = next(
        options
        for options in UNETS.values()
        if options["cross_attention_dim"] == cross_attention_dim
    )
    with torch.device("meta"):
        return (
            UNet2DConditionModel(sample_size=64, **options).to(torch.bfloat16).requires_grad_(False)
        )


@cache
def vae_on_meta() -> AutoencoderKL:
    """Build Stable Diffusion's VAE."""
    with torch.device("meta"):
        return vae().requires_grad_(False)


def vae() -> AutoencoderKL:
    """Build Stable Diffusion's VAE with random weights."""
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[128, 256, 512, 512],
        layers_per_block=2,
        latent_channels=4,
    )


def full_size_diffusion(folder: Path) -> Diffusion:
    """Build Stable Diffusion 2.1 with random weights, in memory; its tokenizer knows single
    characters.
    """
    tokenizer = tiny_diffusion(folder).tokenizer
    tokenizer.model_max_length = 77
    scheduler = DDPMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
    )
    unet = UNet2DConditionModel(sample_size=96, **UNETS["sd-2.1"])
    return Diffusion(vae(), unet, scheduler, CLIPTextModel(TEXT_ENCODERS["sd-2.1"]), tokenizer)
