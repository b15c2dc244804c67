"""Batches of cached latents, each fully determined by the seed and the step.

No random state is carried from step to step: whatever is drawn at step s comes from a generator seeded with
(seed, purpose, s). A run can therefore be cut at any step and go on exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader

from dcr.diffusion import Diffusion
from dcr.latents import LatentCache, encode_collated
from dcr.seeds import derive_seed, numpy_generator, torch_generator
from dcr.training.processes import Processes
from dcr.transforms import ViewAugmentation


@dataclass
class Batch:
    """What one step sees.

    keys: of the samples. pixels, view_pixels: (B, 3, H, W) in [0, 1]. noisy_latents, targets: (B, C, h, w)
    float32. timesteps: (B,) int64.
    """

    keys: list[str]
    pixels: torch.Tensor
    view_pixels: torch.Tensor
    noisy_latents: torch.Tensor
    targets: torch.Tensor
    timesteps: torch.Tensor


def split_positions(latents: LatentCache, validation_fraction: float) -> tuple[list[int], list[int]]:
    """Return the positions to train on and those held out.

    A sample's side depends on its key alone, so it never changes with order, shard layout or other samples.
    """
    held_out = [derive_seed(0, "validation", latents.key(i)) / 2**63 < validation_fraction for i in range(len(latents))]
    return [i for i, out in enumerate(held_out) if not out], [i for i, out in enumerate(held_out) if out]


class StepSampler:
    """A DataLoader's batch sampler that yields (position, epoch) of each sample of each step in ``steps``.

    Batches follow each other through a fresh permutation every epoch; a batch may span two epochs, so every
    sample is seen equally often. Of ``num_processes`` with ``batch_size`` each, every one takes its own piece of
    the same order.

    Args:
        first_place: place in the order at which ``steps`` begin; by default that of an unbroken run. A run that
            goes on with another number of processes has seen another number of samples.
    """

    def __init__(
        self,
        positions: Sequence[int],
        batch_size: int,
        seed: int,
        steps: range,
        rank: int = 0,
        num_processes: int = 1,
        first_place: int | None = None,
    ) -> None:
        self.positions, self.batch_size, self.seed = positions, batch_size, seed
        self.steps, self.rank, self.num_processes = steps, rank, num_processes
        self.first_place = steps.start * batch_size * num_processes if first_place is None else first_place

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = -1, np.empty(0, dtype=int)
        for number in range(len(self.steps)):
            batch = []
            first = self.first_place + (number * self.num_processes + self.rank) * self.batch_size
            for place in range(first, first + self.batch_size):
                if place // len(self.positions) != epoch:
                    epoch = place // len(self.positions)
                    order = numpy_generator(self.seed, "order", epoch).permutation(len(self.positions))
                batch.append((self.positions[order[place % len(self.positions)]], epoch))
            yield batch


def collate(samples: list[dict]) -> dict:
    """Stack samples: ``crops`` uint8 (B, H, W, 3), ``keys``, and ``moments`` float32 (B, 2C, h, w).

    Samples without a cache have ``encoding`` in place of moments, which `make_batch` then computes.
    """
    collated = {
        "keys": [sample["key"] for sample in samples],
        "crops": torch.from_numpy(np.stack([sample["crop"] for sample in samples])),
    }
    if "encoding" in samples[0]:
        return {**collated, "encoding": samples[0]["encoding"]}
    return {**collated, "moments": torch.from_numpy(np.stack([sample["moments"] for sample in samples]))}


def build_loader(
    latents: LatentCache,
    positions: Sequence[int],
    batch_size: int,
    seed: int,
    steps: range,
    num_workers: int,
    processes: Processes,
    first_place: int,
) -> DataLoader:
    """Return a loader over the steps, in order, whatever the number of worker processes; see `StepSampler`."""
    sampler = StepSampler(positions, batch_size, seed, steps, processes.rank, processes.count, first_place)
    return DataLoader(latents, batch_sampler=sampler, collate_fn=collate, num_workers=num_workers)


def make_batch(
    collated: dict,
    diffusion: Diffusion,
    augmentation: ViewAugmentation,
    seed: int,
    step: int | str,
    processes: Processes | None = None,
) -> Batch:
    """Draw latents, noise, timesteps and views for one step, on the diffusion model's device.

    Each process draws for the whole batch of all processes and keeps its own piece, so that what a sample gets
    depends on its place in the batch and not on how many processes share it.
    """
    device = diffusion.device
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
    return Batch(
        keys=collated["keys"],
        pixels=pixels,
        view_pixels=augmentation.apply(pixels, augmentation.draw(whole[0], draws["view"])[own]),
        noisy_latents=diffusion.add_noise(latents, noise, timesteps),
        targets=diffusion.target(latents, noise, timesteps),
        timesteps=timesteps,
    )
