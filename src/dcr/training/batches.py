"""What one step sees: views, noisy latents and targets, drawn from the seed and the step alone.

No random state is carried from step to step: whatever is drawn at step s comes from a generator seeded with
(seed, purpose, s). A run can therefore be cut at any step and go on exactly.

Notation: B batch of this process, P processes, V views of an image, H x W image size, C x h x w latent shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from dcr.diffusion import Diffusion
from dcr.latents import encode_collated
from dcr.seeds import torch_generator
from dcr.training.processes import Processes


class Augmentation(Protocol):
    """Makes views of a batch, from draws that it names the number of."""

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Return the draws of ``count`` samples, one row each."""

    def apply(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return views of pixels, (B, 3, H, W) in [0, 1]."""


@dataclass(frozen=True)
class BatchOptions:
    """How batches are drawn; see conf/base/parameters_training.yml. The defaults are the paper's method."""

    published_target: bool = False
    published_noise: bool = False


@dataclass
class Batch:
    """What one step sees.

    keys: of the samples. pixels: (B, 3, H, W) in [0, 1]. view_pixels: (V * B, 3, H, W), first every image's first
    view, then every image's second. noisy_latents, targets: (B, C, h, w) float32. timesteps: (B,) int64.
    """

    keys: list[str]
    pixels: torch.Tensor
    view_pixels: torch.Tensor
    noisy_latents: torch.Tensor
    targets: torch.Tensor
    timesteps: torch.Tensor


def make_batch(
    collated: dict,
    diffusion: Diffusion,
    augmentation: Augmentation,
    seed: int,
    step: int | str,
    processes: Processes | None = None,
    options: BatchOptions | None = None,
) -> Batch:
    """Draw latents, noise, timesteps and views for one step, on the diffusion model's device.

    Each process draws for the whole batch of all processes and keeps its own piece, so that what a sample gets
    depends on its place in the batch and not on how many processes share it.
    """
    device, options = diffusion.device, options or BatchOptions()
    pixels = collated["crops"].to(device).permute(0, 3, 1, 2).float() / 255
    moments = collated["moments"] if "moments" in collated else encode_collated(collated, diffusion)
    mean, log_variance = moments.to(device).chunk(2, dim=1)
    own = processes.own(len(mean)) if processes else slice(None)
    whole = (len(mean) * (processes.count if processes else 1), *mean.shape[1:])
    draws = {name: torch_generator(seed, name, step) for name in ("latent", "noise", "timestep", "view")}
    latent_noise = torch.randn(whole, generator=draws["latent"])[own].to(device)
    latents = diffusion.scale_latents(mean + torch.exp(0.5 * log_variance) * latent_noise)
    noise = torch.randn(whole, generator=draws["noise"])[own].to(device)
    timesteps = torch.randint(diffusion.num_timesteps, whole[:1], generator=draws["timestep"])[own].to(device)
    precision = torch.bfloat16 if options.published_noise else torch.float32
    prediction_type = "v_prediction" if options.published_target else None
    return Batch(
        keys=collated["keys"],
        pixels=pixels,
        view_pixels=augmentation.apply(pixels, augmentation.draw(whole[0], draws["view"])[own]),
        noisy_latents=diffusion.add_noise(latents, noise, timesteps, precision),
        targets=diffusion.target(latents, noise, timesteps, prediction_type, precision),
        timesteps=timesteps,
    )
