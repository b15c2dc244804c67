"""Images like an anchor but not it, by feature interpolation in the UNet (CLSP, arXiv 2408.16965).

Notation: B batch, C latent channels, h x w latent size, T tokens, m cross-attention width. Latents
are scaled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from dcr.errors import UserError
from dcr.models.diffusion import Diffusion
from dcr.models.generation import ddim_scheduler
from dcr.seeds import torch_generator

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


@torch.no_grad()
def sample_like(
    diffusion: Diffusion,
    anchors: torch.Tensor,
    encoder_hidden_states: torch.Tensor,
    seeds: Sequence[int],
    num_steps: int,
    eta: float,
    sample_weight: float,
) -> torch.Tensor:
    """Sample latents by DDIM from noise, each drawn towards its anchor in the middle of the UNet.

    At every step the anchor is noised to the sample's timestep and goes through the encoder and the
    middle block too. Behind the middle block the sample's features h become ``w h + (1 - w)
    h_anchor``; the decoder goes on with the sample's own skips. w = 1 is DDIM, bit for bit what
    diffusers' own pipeline gives.

    Args:
        diffusion: the frozen model; samples are drawn on its device.
        anchors: latents of the images to be like, (B, C, h, w), float32.
        encoder_hidden_states: condition of sample and anchor, (B, T, m).
        seeds: of each sample's noise; what a sample becomes does not depend on the others.
        num_steps: DDIM steps, see `ddim_scheduler`.
        eta: share of fresh noise in every step; 0 is deterministic DDIM, 1 is DDPM.
        sample_weight: w, between 0 and 1.

    Returns:
        Latents, (B, C, h, w), float32.

    Raises:
        UserError: the UNet has no middle block.
    """
    if diffusion.unet.mid_block is None:
        raise UserError(
            f"diffusion model {diffusion.source}: its UNet has no middle block, which synthesis"
            " works on"
        )
    scheduler = ddim_scheduler(diffusion, num_steps)
    device = diffusion.device
    own = [torch.Generator().manual_seed(seed) for seed in seeds]
    of_anchors = [torch_generator(seed, "anchor") for seed in seeds]
    anchors = anchors.to(device, torch.float32)
    latents: torch.Tensor = randn_tensor(anchors.shape, generator=own, device=device)
    for timestep in scheduler.timesteps:
        timesteps = timestep.repeat(len(anchors)).to(device)
        noise = randn_tensor(anchors.shape, generator=of_anchors, device=device)
        middle = encode_to_middle(
            diffusion,
            diffusion.add_noise(anchors, noise, timesteps),
            timesteps,
            encoder_hidden_states,
        )
        with _drawn_towards(diffusion.unet, middle, sample_weight):
            prediction = diffusion.predict(latents, timesteps, encoder_hidden_states).float()
        step = scheduler.step(prediction, timestep, latents, eta=eta, generator=own)
        latents = step.prev_sample
    return latents


def encode_to_middle(
    diffusion: Diffusion,
    noisy_latents: torch.Tensor,
    timesteps: torch.Tensor,
    encoder_hidden_states: torch.Tensor,
) -> torch.Tensor:
    """Return the UNet's features behind its middle block; the decoder does not run.

    Args:
        diffusion: the frozen model; its UNet has a middle block.
        noisy_latents: (B, C, h, w).
        timesteps: (B,) int64.
        encoder_hidden_states: (B, T, m).
    """

    def stop(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        """End the pass with the middle block's ``output``; see torch's forward hooks for others."""
        raise _MiddleReached(output)

    handle = diffusion.unet.mid_block.register_forward_hook(stop)
    try:
        diffusion.predict(noisy_latents, timesteps, encoder_hidden_states)
    except _MiddleReached as reached:
        return reached.features
    finally:
        handle.remove()
    raise AssertionError("the UNet did not call its middle block")


class _MiddleReached(Exception):
    """Ends a forward pass where nothing behind it is needed."""

    def __init__(self, features: torch.Tensor) -> None:
        super().__init__()
        self.features = features


@contextmanager
def _drawn_towards(
    unet: UNet2DConditionModel, middle: torch.Tensor, sample_weight: float
) -> Iterator[None]:
    """While open, the middle block's output h is ``w h + (1 - w) middle``."""
    handle = unet.mid_block.register_forward_hook(
        lambda _, __, h: torch.lerp(middle, h, sample_weight)
    )
    try:
        yield
    finally:
        handle.remove()
