"""The demo's small UNet and text encoder: text-conditioned velocity prediction in VAE latents.

Notation: N images, T tokens of a caption, m the UNet's cross-attention width, C x h x w the size of
a latent.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from dcr.models.diffusion import Diffusion
from dcr.models.noise_schedule import build_scheduler
from dcr.parameters import PretrainingParameters
from dcr.scenes.pretrain_data import ImageSet, batched, only_used_tokens, optimise, seeded
from dcr.scenes.pretrain_text import build_text_encoder
from dcr.scenes.pretrain_vae import encode_all
from dcr.scenes.world import caption
from dcr.seeds import torch_generator


def build_unet(parameters: PretrainingParameters, latent_size: int) -> UNet2DConditionModel:
    """Return an untrained UNet with cross-attention at every level.

    Args:
        parameters: channels of each level, number of heads, and m.
        latent_size: side of the latents, h = w.
    """
    channels = parameters.unet_block_channels
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=parameters.latent_channels,
        out_channels=parameters.latent_channels,
        down_block_types=("CrossAttnDownBlock2D",) * len(channels),
        up_block_types=("CrossAttnUpBlock2D",) * len(channels),
        block_out_channels=tuple(channels),
        layers_per_block=1,
        cross_attention_dim=parameters.unet_text_width,
        attention_head_dim=parameters.unet_num_heads,  # diffusers' name for the number of heads
        norm_num_groups=8,
    )


def train_unet(
    images: ImageSet, vae: AutoencoderKL, parameters: PretrainingParameters
) -> Diffusion:
    """Train UNet and text encoder on the full captions of ``images``; return the whole model.

    ``parameters`` tell how. A text encoder that was trained for CLIP leaves out what CLIP does not
    ask for, and the UNet cannot bring it back: jointly trained, each learns what the other needs.
    The trained ``vae`` encodes all latents before; each step draws latents, timesteps, noise and
    which captions are emptied. Loss: mean squared error of the velocity (Salimans and Ho, arXiv
    2202.00512).
    """
    mean, logvar = encode_all(vae, images, parameters.unet_batch_size)
    unet = seeded(lambda: build_unet(parameters, mean.shape[-1]), parameters.seed, "unet")
    text_encoder, tokenizer = seeded(
        lambda: build_text_encoder(parameters), parameters.seed, "text encoder"
    )
    diffusion = Diffusion(vae, unet, build_scheduler(), text_encoder, tokenizer)
    generator = torch_generator(parameters.seed, "unet", "noise")
    trained = nn.ModuleList([unet, text_encoder]).requires_grad_(True)
    with only_used_tokens(
        text_encoder, diffusion.tokenize(["", *full_captions(images)]).input_ids
    ) as tokens:
        empty = tokens[0]
        captions = tokens[1:]

        def batch_loss(indices: torch.Tensor) -> torch.Tensor:
            """Return the velocity's mean squared error at ``indices``, (B,) int64, at new draws."""
            draws = torch.randn(2, len(indices), *mean.shape[1:], generator=generator)
            latents = diffusion.scale_latents(
                mean[indices] + (logvar[indices] / 2).exp() * draws[0]
            )
            timesteps = draw_timesteps(len(indices), diffusion.num_timesteps, generator)
            emptied = torch.rand(len(indices), generator=generator) < parameters.empty_prompt_share
            condition = text_encoder(
                torch.where(emptied[:, None], empty, captions[indices])
            ).last_hidden_state
            noise_pred = diffusion.predict(
                diffusion.add_noise(latents, draws[1], timesteps), timesteps, condition
            )
            return (noise_pred - diffusion.target(latents, draws[1], timesteps)).square().mean()

        optimise(
            trained,
            batch_loss,
            len(images),
            parameters.unet_steps,
            parameters.unet_batch_size,
            parameters.unet_learning_rate,
            parameters.seed,
            "unet",
        )
    trained.requires_grad_(False)
    return diffusion


def draw_timesteps(count: int, num_timesteps: int, generator: torch.Generator) -> torch.Tensor:
    """Return timesteps, (count,) int64 below ``num_timesteps``, whose logit is standard normal.

    In the middle of the schedule the image is neither plain to see nor lost, and the caption says
    most of it: drawn there, the same steps teach more details than drawn evenly (docs/evidence.md).
    Source: Esser et al., arXiv 2403.03206, section 3.1.

    Args:
        count: one for each image of a batch.
        num_timesteps: length of the noise schedule.
        generator: on the CPU.
    """
    shares = torch.randn(count, generator=generator).sigmoid()
    return (shares * num_timesteps).long().clamp(max=num_timesteps - 1)


def full_captions(images: ImageSet) -> list[str]:
    """Return captions of ``images``, in order, that name the class and every detail."""
    return [caption(attributes) for attributes in images.attributes]


def encode_captions(diffusion: Diffusion, captions: list[str]) -> torch.Tensor:
    """Return the text encoder's hidden states of all ``captions``, (N, T, m), 256 at a time.

    The text encoder is that of ``diffusion``.
    """
    return torch.cat(
        [diffusion.encode_prompts([captions[j] for j in i]) for i in batched(len(captions), 256)]
    )
