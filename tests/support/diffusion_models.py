"""A tiny latent-diffusion model with random weights, in diffusers' parts."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dcr.models.diffusion import Diffusion

CROSS_ATTENTION_DIM = 16
CONTEXT_LENGTH = 12


def tiny_unet(**changes) -> UNet2DConditionModel:
    """Return a UNet for 4 x 8 x 8 latents with cross-attention width 16, ``changes`` of its
    configuration.
    """
    config = {
        "sample_size": 8,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "block_out_channels": [8, 16],
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
        "cross_attention_dim": CROSS_ATTENTION_DIM,
    }
    return UNet2DConditionModel(**config | changes)


def tiny_diffusion(folder: Path, prediction_type: str = "v_prediction") -> Diffusion:
    """Return a diffusion model: 32 px images, 4 x 8 x 8 latents, cross-attention width 16."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[8, 8, 8],
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.5,
    )
    unet = tiny_unet()
    scheduler = DDPMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type=prediction_type,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=258,
            hidden_size=CROSS_ATTENTION_DIM,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=CONTEXT_LENGTH,
            bos_token_id=256,
            eos_token_id=257,
            pad_token_id=257,
        )
    )
    return Diffusion(vae, unet, scheduler, text_encoder, _byte_tokenizer(folder))


def _byte_tokenizer(folder: Path, context_length: int = CONTEXT_LENGTH) -> CLIPTokenizer:
    """Return a CLIP tokenizer that knows single characters only."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(c) for c in range(33, 161)]
    vocabulary = {
        t: i
        for i, t in enumerate(
            [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
        )
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=context_length
    )


def scaled_down_diffusion(folder: Path) -> Diffusion:
    """Return a diffusion model of Stable Diffusion 2.1's shape, all widths but the VAE's a fifth of
    its own.

    Heads are 64 wide and prompts 77 tokens long, as there; the condition is 208 wide (1024 / 5,
    made a whole number of heads); the VAE has a quarter of its widths, as groups of its norms ask
    for 32 channels, the text encoder 5 layers.
    """
    torch.manual_seed(0)
    tiny = tiny_diffusion(folder)
    unet = UNet2DConditionModel(
        block_out_channels=[64, 128, 256, 256],
        attention_head_dim=[1, 2, 4, 4],
        cross_attention_dim=208,
        use_linear_projection=True,
        layers_per_block=2,
    )
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[32, 64, 128, 128],
        layers_per_block=2,
        latent_channels=4,
    )
    sizes = {
        "hidden_size": 208,
        "intermediate_size": 832,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
    }
    text = CLIPTextModel(
        CLIPTextConfig(
            **tiny.text_encoder.config.to_dict() | sizes | {"max_position_embeddings": 77}
        )
    )
    tokenizer = _byte_tokenizer(folder, 77)
    return Diffusion(vae, unet, tiny.scheduler, text, tokenizer)
