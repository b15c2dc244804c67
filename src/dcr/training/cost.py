"""What a step costs, found on one image and one pair before the first: activations, operations,
rows at once.

Activations are what autograd saves, counted once a storage, weights not included, nor their copies
in the run's precision; operations are those of matrix products, convolutions and attention
(torch.utils.flop_counter), two for a multiplication and an addition. With gradient checkpointing
the inputs of the blocks, which it keeps, are not among the activations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import psutil
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dcr.training.step import MicroStep

_SHARE = (
    0.7  # of free memory that the rows of a chunk may take; the rest is workspace and fragmentation
)


@dataclass(frozen=True)
class Cost:
    """Of one image in the tower and of one (noisy latent, condition) pair in the UNet, forward and
    backward.

    ``copy_bytes`` are the tower's weights in the run's precision, which autograd keeps once for all
    images.
    """

    image_bytes: int
    image_flops: int
    pair_bytes: int
    pair_flops: int
    copy_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """A run's expected cost.

    Attributes:
        rows_per_chunk: as given, or the most that fit in free memory.
        step_bytes: activations of tower and of one chunk, gradients and optimizer state; weights
            and data aside.
        step_flops: of one optimizer step on one process.
    """

    rows_per_chunk: int
    step_bytes: int
    step_flops: int


def measure(micro_step: MicroStep, image_size: int) -> Cost:
    """Measure one image and one pair; no gradient is left.

    Args:
        micro_step: of the run, its weights whole.
        image_size: side of the tower's input in pixels.
    """
    unet = micro_step.diffusion.unet
    device = micro_step.diffusion.device
    pixels = torch.zeros(2, 3, image_size, image_size, device=device)
    weights = list(micro_step.model.trainable().values())
    modules = (micro_step.model, unet)
    with SavedBytes(modules) as of_two:
        micro_step.precision.encode(micro_step.model, pixels)
    with SavedBytes(modules) as of_one, FlopCounterMode(display=False) as flops:
        projection = micro_step.precision.encode(micro_step.model, pixels[:1])[1]
        torch.autograd.grad(projection.sum(), weights, allow_unused=True)
    image_bytes = of_two.num_bytes - of_one.num_bytes
    image_flops = flops.get_total_flops()
    side = image_size // 2 ** (len(micro_step.diffusion.vae.config.block_out_channels) - 1)
    latents = torch.zeros(1, unet.config.in_channels, side, side, device=device)
    leaf = projection.detach().requires_grad_()
    with SavedBytes(modules) as saved, FlopCounterMode(display=False) as flops:
        prediction = micro_step.predict(
            latents, torch.zeros(1, dtype=torch.long, device=device), leaf[:, None]
        )
        torch.autograd.grad(prediction.float().sum(), leaf)
    copy_bytes = of_one.num_bytes - image_bytes
    return Cost(image_bytes, image_flops, saved.num_bytes, flops.get_total_flops(), copy_bytes)


def plan(micro_step: MicroStep, cost: Cost, trainable: dict[str, torch.Tensor]) -> Plan:
    """Return what a step of the run will cost, and how many rows it takes at once.

    Args:
        micro_step: of the run.
        cost: of one image and of one pair.
        trainable: the parameters that train, by name; of sharded ones this process's part.
    """
    run = micro_step.run
    batches = run.parameters.batches
    size = run.stage.train_batch_size
    is_dcr = run.objective == "dcr"
    columns = size * (micro_step.processes.count if micro_step.contrast.gathers else 1)
    row_pairs = (
        batches.negatives_count + 1 if batches.negatives_count else columns
    ) + batches.num_views
    images = size if run.objective == "reconstruction" else size * (1 + batches.num_views)
    trained = sum(12 * p.numel() for p in trainable.values())  # gradient and two moments
    kept = images * cost.image_bytes + cost.copy_bytes + trained
    rows = run.parameters.execution.rows_per_chunk or _rows_that_fit(
        micro_step, cost.pair_bytes * row_pairs, kept
    )
    pairs_at_once = row_pairs * min(rows, size) if is_dcr else min(rows * (size + 1), size)
    pairs = size * (row_pairs if is_dcr else 1)
    flops = images * cost.image_flops + pairs * cost.pair_flops
    return Plan(
        rows,
        kept + pairs_at_once * cost.pair_bytes,
        flops * run.parameters.optimizer.gradient_accumulation_steps,
    )


def _rows_that_fit(micro_step: MicroStep, row_bytes: int, kept: int) -> int:
    """Return how many rows fit in free memory, at least one and at most all."""
    free = free_bytes(micro_step.diffusion.device, micro_step.processes.num_on_host)
    return max(
        1,
        min(
            micro_step.run.stage.train_batch_size,
            math.floor((_SHARE * free - kept) / max(1, row_bytes)),
        ),
    )


def free_bytes(device: torch.device, num_processes: int) -> int:
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (
            torch.cuda.mem_get_info(device)[0] + kept
        )  # what the allocator keeps is as good as free
    available: int = psutil.virtual_memory().available
    return available // num_processes


class SavedBytes:
    """Counts the bytes that autograd saves while open; a storage counts once, weights do not.

    Args:
        modules: whose weights are left out.
    """

    def __init__(self, modules: tuple[nn.Module, ...]) -> None:
        self._weights = {
            p.untyped_storage().data_ptr() for module in modules for p in module.parameters()
        }

    def __enter__(self) -> SavedBytes:
        self._storages: dict[int, int] = {}
        self._held: list[torch.Tensor] = []
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._hooks.__exit__(*exc)
        self.num_bytes = sum(self._storages.values())
        self._held.clear()

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights:
            self._storages[storage.data_ptr()] = storage.nbytes()
            self._held.append(tensor.detach())  # so that no address is used twice
        return tensor
