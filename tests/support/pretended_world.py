"""Training on the CPU and on the pretended device, from the same files, so that the two can be
compared.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from dcr.training.step import MicroStep
from device_runs import prepare
from pretended_device import DEVICE, PretendedDevice

Waits = Counter[str]


@dataclass
class Trained:
    """What a training left: weights, its log, and the waits for the pretended device."""

    weights: dict[str, torch.Tensor]
    losses: pd.DataFrame
    waits: Waits

    def equals(self, other: Trained) -> bool:
        """Tell whether another training gave the same bits, in weights and in all that it
        logged.
        """
        same_weights = all(
            torch.equal(self.weights[name], other.weights[name]) for name in self.weights
        )
        same_names = self.weights.keys() == other.weights.keys()
        return same_names and same_weights and self.losses.equals(other.losses)


def train(world: Path, folder: Path, name: str, steps: int, pretend: bool, **changes) -> Trained:
    """Train stage 1, or stage 2 by a method, for some steps.

    Args:
        world: of `training_world.write_world`. folder: for the checkpoints, a new one each time.
        pretend: whether on the pretended device.
    """
    run = prepare(world, folder, name, steps, **changes)
    with PretendedDevice() if pretend else nullcontext() as device:
        weights, losses = run(DEVICE if pretend else torch.device("cpu"))
    return Trained(weights, losses, device.waits if pretend else Counter())


def waits_of_step(
    micro_step: MicroStep, collated: dict, device: PretendedDevice, rows: int
) -> Waits:
    """Return the waits of a micro-step that walks so many rows at once."""
    before = device.waits.copy()
    micro_step(collated, 0, rows)
    return device.waits - before
