"""Images from the frozen diffusion model that show what a condition tells the UNet.

Notation: B batch, T tokens, d width of image features, m cross-attention width, C latent channels,
h x w latent size, H x W image size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from diffusers import DDIMScheduler

from dcr.models.projector import condition, project

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone
    from dcr.models.diffusion import Diffusion


def ddim_scheduler(diffusion: Diffusion, num_steps: int) -> DDIMScheduler:
    """Return diffusers' DDIM scheduler over the model's noise schedule, its timesteps set.

    Timesteps are spaced ``trailing``, so that the first is the last of training, where pure noise
    is what the UNet knows (arXiv 2305.08891). The estimate of the clean latents is not clipped:
    latents are not bound to [-1, 1].

    Args:
        diffusion: the model whose noise schedule and prediction type are kept.
        num_steps: a divisor of the length of the schedule (1000): else the last step of diffusers
            ends before the clean latents.

    Raises:
        ValueError: it is none.
    """
    length = diffusion.scheduler.config.num_train_timesteps
    if num_steps < 1 or length % num_steps:
        raise ValueError(
            f"num_steps must divide the {length} timesteps of the schedule, got {num_steps}"
        )
    scheduler = DDIMScheduler.from_config(
        diffusion.scheduler.config,
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(num_steps)
    return scheduler


@torch.no_grad()
def reconstruct(
    diffusion: Diffusion,
    encoder_hidden_states: torch.Tensor,
    noise: torch.Tensor,
    num_steps: int,
    guidance_scale: float = 1.0,
    empty_prompt: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sample images by deterministic DDIM from ``noise`` under a condition.

    The same noise under two conditions shows how the conditions differ and nothing else.

    Args:
        diffusion: the frozen model; its scheduler gives the noise schedule and the prediction type.
        encoder_hidden_states: conditions, (B, T, m).
        noise: start, (B, C, h, w), standard normal, float32.
        num_steps: DDIM steps, see `ddim_scheduler`.
        guidance_scale: weight w of classifier-free guidance, empty + w (conditioned - empty); 1 is
            none.
        empty_prompt: hidden states of the empty prompt, (1, T, m); needed when ``guidance_scale``
            is not 1.

    Returns:
        pixels in [0, 1], (B, 3, H, W), float32.

    Source: DDIM, arXiv 2010.02502; guidance, arXiv 2207.12598.
    """
    if guidance_scale == 1:
        empty_prompt = None
    elif empty_prompt is None:
        raise ValueError(
            f"empty_prompt must be given for guidance_scale {guidance_scale}, got None"
        )
    scheduler = ddim_scheduler(diffusion, num_steps)
    latents = noise.to(diffusion.device, torch.float32)
    for timestep in scheduler.timesteps:
        timesteps = timestep.repeat(len(latents)).to(diffusion.device)
        prediction = diffusion.predict(latents, timesteps, encoder_hidden_states).float()
        if empty_prompt is not None:
            empty = diffusion.predict(
                latents, timesteps, empty_prompt.expand(len(latents), -1, -1)
            ).float()
            prediction = empty + guidance_scale * (prediction - empty)
        latents = scheduler.step(prediction, timestep, latents).prev_sample
    return diffusion.decode_latents(latents).float()


@torch.no_grad()
def reconstruct_under_conditions(
    diffusion: Diffusion,
    projector: torch.nn.Module,
    encoders: Mapping[str, Backbone],
    pixels: torch.Tensor,
    generator: torch.Generator,
    num_steps: int,
    guidance_scale: float = 1.0,
) -> dict[str, torch.Tensor]:
    """Show what each encoder tells the UNet of the same images, from the same noise.

    Args:
        diffusion: the frozen model, which need not be on the device of the encoders.
        projector: a `dcr.models.projector.Projector` or `TokenProjector` on the encoders' device;
            one for all encoders.
        encoders: by name.
        pixels: (B, 3, H, W) in [0, 1], as the encoders' ``preprocess`` gives them.
        generator: draws one noise per image.
        num_steps, guidance_scale: see :func:`reconstruct`.

    Returns:
        Pixels in [0, 1], (B, 3, H, W), float32, on the CPU: ``vae`` (encoded and decoded, the best
        there can be), ``empty_prompt`` (told nothing of the image), and one entry per encoder.
    """
    pixels = pixels.to(diffusion.device)
    mean, _ = diffusion.encode_moments(pixels)
    noise = torch.randn(mean.shape, generator=generator)
    empty_prompt = diffusion.encode_prompts([""])
    conditions = {"empty_prompt": empty_prompt.expand(len(pixels), -1, -1)}
    for name, encoder in encoders.items():
        projection = project(encoder, projector, pixels.to(encoder.device))[1]
        conditions[name] = condition(empty_prompt, projection.to(diffusion.device))
    images = {"vae": diffusion.decode_latents(diffusion.scale_latents(mean)).float()}
    for name, hidden in conditions.items():
        images[name] = reconstruct(
            diffusion, hidden, noise, num_steps, guidance_scale, empty_prompt
        )
    return {name: image.cpu() for name, image in images.items()}
