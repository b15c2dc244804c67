"""What one step sees: views, noisy latents and targets, drawn from the seed and the step alone.

No random state is carried from step to step: whatever is drawn at step s comes from a generator
seeded with (seed, purpose, s). A run can therefore be cut at any step and go on exactly.

Notation: B batch of this process, P processes, V views of an image, H x W image size, C x h x w
latent shape.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch

from dcr.latents import encode_collated
from dcr.parameters.training.parts import Batches
from dcr.seeds import derive_seed, torch_generator
from dcr.training.distributed.processes import Processes

if TYPE_CHECKING:
    from dcr.models.diffusion import Diffusion
    from dcr.parameters.training.published import Part


class Augmentation(Protocol):
    """Makes views of a batch, from draws that it names the number of."""

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Return the draws of ``count`` samples, one row each, from a CPU ``generator``."""

    def apply(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return views of ``pixels``, (B, 3, H, W) in [0, 1].

        They are made by the ``draws`` of `draw`, one row a sample.
        """


HELD_OUT = Batches(
    num_views=1,
    timestep_min=0.0,
    timestep_max=1.0,
    snr_gamma=0.0,
    negatives_count=0,
    gather_negatives=False,
)
"""How held-out batches are drawn, whatever the recipe trains on: errors of two recipes compare."""


@dataclass
class Batch:
    """What one step sees.

    keys: of the samples. pixels: (B, 3, H, W) in [0, 1]. view_pixels: (V * B, 3, H, W), first every
    image's first view, then every image's second. noisy_latents, targets: (B, C, h, w) float32.
    timesteps: (B,) int64. weights: of the samples' losses, (B,) float32, None for 1. negatives:
    places of the sampled ones relative to the sample's own, (B, N) int64, None for all.
    base_features: the base encoder's, (B, d), None where they are not used. clip_features: the same
    encoder's of images and of first views, (B, d) each, to resample by, None likewise. signal_seed:
    for signals that draw, the same in all processes. Where there are made positives, they are the
    last view. features: the frozen tower's of the images, (B, d) float32; None where it is to
    encode them. source_names, sources: of a mixture, its names and each sample's place among them,
    (B,) int64; None where there is one source.
    """

    keys: list[str]
    pixels: torch.Tensor
    view_pixels: torch.Tensor
    noisy_latents: torch.Tensor
    targets: torch.Tensor
    timesteps: torch.Tensor
    weights: torch.Tensor | None = None
    negatives: torch.Tensor | None = None
    base_features: torch.Tensor | None = None
    clip_features: tuple[torch.Tensor, torch.Tensor] | None = None
    signal_seed: int = 0
    features: torch.Tensor | None = None
    source_names: list[str] | None = None
    sources: torch.Tensor | None = None


class Draws:
    """Draws of one step by purpose.

    Each process draws for all of them and keeps its own piece, so that what a sample gets depends
    on its place in the batch and not on how many processes share it.

    Args:
        seed: of the run.
        step: whose draws they are, by number, or by name where it is none of training.
        size: B.
        processes: that share the batch; None for one that trains alone.
        device: where the draws go; they are made on the CPU.
    """

    def __init__(
        self,
        seed: int,
        step: int | str,
        size: int,
        processes: Processes | None,
        device: torch.device,
    ) -> None:
        self._seed = seed
        self._step = step
        self._device = device
        self._own = processes.local_slice(size) if processes else slice(None)
        self.num_samples = size * (processes.count if processes else 1)

    def __call__(
        self, draw: Callable[[int, torch.Generator], torch.Tensor], *purpose: str | int
    ) -> torch.Tensor:
        """Return this process's piece of ``draw(samples of all processes, generator)``."""
        name, *number = purpose
        generator = torch_generator(self._seed, name, self._step, *number)
        return draw(self.num_samples, generator)[self._own].to(self._device, non_blocking=True)

    def normal(self, shape: torch.Size, purpose: str) -> torch.Tensor:
        """Return unit normal numbers for ``purpose``, (B, *shape), ``shape`` being one sample's."""
        return self(
            lambda count, generator: torch.randn(count, *shape, generator=generator), purpose
        )


def make_batch(
    collated: dict[str, Any],
    diffusion: Diffusion,
    augmentation: Augmentation,
    seed: int,
    step: int | str,
    processes: Processes | None = None,
    batches: Batches = HELD_OUT,
    published: Collection[Part] = (),
) -> Batch:
    """Draw latents, noise, timesteps, views and negatives for one step, on ``diffusion``'s device.

    Args:
        collated: the samples, as `dcr.training.data.collate` stacks them.
        diffusion: encodes samples that come without moments; its schedule decides noise and target.
        augmentation: makes the views.
        seed, step, processes: see `Draws`.
        batches: how the batch is drawn.
        published: the parts that are the published code's, of which ``noise`` and ``target`` are
            these: both computed in bfloat16, and the velocity as target whatever the scheduler
            says.
    """
    device = diffusion.device
    precision = torch.bfloat16 if "noise" in published else torch.float32
    kind = "v_prediction" if "target" in published else None
    pixels = to_pixels(collated["crops"], device)
    made = [to_pixels(collated["candidates"], device)] if "candidates" in collated else []
    moments = collated["moments"] if "moments" in collated else encode_collated(collated, diffusion)
    mean, log_variance = moments.to(device, non_blocking=True).chunk(2, dim=1)
    draws = Draws(seed, step, len(mean), processes, device)
    latents = diffusion.scale_latents(
        mean + torch.exp(0.5 * log_variance) * draws.normal(mean.shape[1:], "latent")
    )
    noise = draws.normal(mean.shape[1:], "noise")
    timesteps = draws(partial(_draw_timesteps, diffusion.num_timesteps, batches), "timestep")
    return Batch(
        keys=collated["keys"],
        pixels=pixels,
        view_pixels=torch.cat([_make_views(pixels, augmentation, draws, batches.num_views), *made]),
        noisy_latents=diffusion.add_noise(latents, noise, timesteps, precision),
        targets=diffusion.target(latents, noise, timesteps, kind, precision),
        timesteps=timesteps,
        weights=_min_snr_weights(diffusion, timesteps, batches.snr_gamma, kind)
        if batches.snr_gamma
        else None,
        negatives=_draw_negatives(len(mean), draws, batches) if batches.negatives_count else None,
        signal_seed=derive_seed(seed, "signal", step),
        features=_moved(collated, "features", device),
        source_names=collated.get("source_names"),
        sources=_moved(collated, "sources", device),
    )


def _moved(collated: dict[str, Any], name: str, device: torch.device) -> torch.Tensor | None:
    """Return on ``device`` what ``collated`` has of a ``name``; None if nothing."""
    return collated[name].to(device, non_blocking=True) if name in collated else None


def to_pixels(crops: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return ``crops``, uint8 (B, H, W, 3), as float32 (B, 3, H, W) in [0, 1], on ``device``."""
    return crops.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255


def _make_views(
    pixels: torch.Tensor, augmentation: Augmentation, draws: Draws, num_views: int
) -> torch.Tensor:
    """Return the views, (V * B, 3, H, W), first every image's first."""
    views = []
    for number in range(num_views):
        drawn = draws(augmentation.draw, "view", *([number] if number else []))
        views.append(augmentation.apply(pixels, drawn))
    return torch.cat(views)


def _draw_timesteps(
    length: int, batches: Batches, count: int, generator: torch.Generator
) -> torch.Tensor:
    first = int(batches.timestep_min * length)
    last = max(first + 1, round(batches.timestep_max * length))
    return torch.randint(first, last, (count,), generator=generator)


def _draw_negatives(size: int, draws: Draws, batches: Batches) -> torch.Tensor:
    """Return ``negatives_count`` different places of other samples, relative to each sample's."""
    columns = draws.num_samples if batches.gather_negatives else size
    order = draws(
        lambda count, generator: torch.rand(count, columns - 1, generator=generator), "negatives"
    ).argsort(1)
    return order[:, : batches.negatives_count] + 1


def _min_snr_weights(
    diffusion: Diffusion, timesteps: torch.Tensor, gamma: float, kind: str | None
) -> torch.Tensor:
    """Return Min-SNR weights of the timesteps, (B,) (arXiv 2303.09556).

    Args:
        diffusion: its schedule gives the signal-to-noise ratios.
        timesteps: (B,) int64.
        gamma: what the ratio is cut at.
        kind: of target; None for the scheduler's.
    """
    # Here, so that who makes no such weights need not wait for it.
    from diffusers.training_utils import compute_snr

    kind = kind or diffusion.scheduler.config.prediction_type
    snr = compute_snr(diffusion.scheduler, timesteps)
    clipped = snr.clamp(max=gamma)
    by_kind = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}
    weights: torch.Tensor = clipped / by_kind[kind]
    return weights
