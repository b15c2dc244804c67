"""Training on the CPU and on the pretended device, from the same files, so that the two can be compared."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from dcr.backbones import load_backbone
from dcr.diffusion import load_diffusion
from dcr.latents import open_latents
from dcr.training import jobs
from dcr.training.processes import Processes
from dcr.training.step import MicroStep
from pretended_device import DEVICE, PretendedDevice
from training_world import fixed_projector, parameters

Waits = Counter[str]


@dataclass
class Trained:
    """What a training left: weights, its log, and the waits for the pretended device."""

    weights: dict[str, torch.Tensor]
    losses: pd.DataFrame
    waits: Waits

    def equals(self, other: Trained) -> bool:
        """Tell whether another training gave the same bits, in weights and in all that it logged."""
        same_weights = all(torch.equal(self.weights[name], other.weights[name]) for name in self.weights)
        same_names = self.weights.keys() == other.weights.keys()
        return same_names and same_weights and self.losses.equals(other.losses)


def train(world: Path, folder: Path, name: str, steps: int, pretend: bool, **changes) -> Trained:
    """Train stage 1, or stage 2 by a method, for some steps.

    Args:
        world: of `training_world.write_world`. folder: for the checkpoints, a new one each time.
        pretend: whether on the pretended device.
    """
    p = parameters(
        stage1_max_train_steps=steps, stage2_max_train_steps=steps, end_to_end_max_train_steps=steps,
        method="dcr" if name == "stage1" else name, checkpointing_steps=100, validate_every_steps=100, **changes,
    )  # fmt: skip
    backbone = load_backbone(f"local-dir:{world / 'clip'}")
    diffusion, latents = load_diffusion(str(world / "diffusion")), open_latents(world / "latents")
    for module in (backbone.model, diffusion.vae, diffusion.unet, diffusion.text_encoder):
        align(module)
    job = jobs.open_job(p, latents, backbone, diffusion, folder)
    projector = fixed_projector(world)
    torch.backends.mha.set_fastpath_enabled(False)  # which a subclass of tensors never takes
    with PretendedDevice() if pretend else nullcontext() as device:
        job.processes = Processes(0, 1, DEVICE if pretend else torch.device("cpu"))
        if name == "stage1":
            weights, _, run = jobs.train_projector(job)
        else:
            trained = jobs.train_adapters(job, projector)
            weights, run = trained.towers[name], trained.runs[name]
    return Trained(weights, run.losses, device.waits if pretend else Counter())


def align(module: torch.nn.Module) -> None:
    """Put weights where PyTorch allocates: those of a mapped file may lie anywhere, for which MKL sums otherwise."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()


def waits_of_step(micro_step: MicroStep, collated: dict, device: PretendedDevice, rows: int) -> Waits:
    """Return the waits of a micro-step that walks so many rows at once."""
    before = device.waits.copy()
    micro_step(collated, 0, rows)
    return device.waits - before
