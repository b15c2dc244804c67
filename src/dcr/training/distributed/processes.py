"""The processes that train together, and what they exchange.

Notation: P processes, B batch of one process, m condition width.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed.tensor import DTensor

from dcr.errors import UserError

_TIMEOUT = timedelta(minutes=30)  # a rank may save, validate or compile while the others wait


@dataclass(frozen=True)
class Processes:
    """This process's rank among ``count`` that train together, and its device."""

    rank: int
    count: int
    device: torch.device
    is_worker: bool = False
    """Whether a node has started this process, and asks it to stop by a file."""

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def on_host(self) -> tuple[int, int]:
        """This process's rank among those of its host, and their number."""
        if self.count == 1:
            return 0, 1
        return int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))

    @property
    def num_on_host(self) -> int:
        """Processes that share this host's memory, training together or beside each other."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if self.is_worker else self.count

    def local_slice(self, size: int) -> slice:
        """Return the places of this process's ``size`` samples in a batch of ``count * size``."""
        return slice(self.rank * size, (self.rank + 1) * size)

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace a ``tensor`` by its sum over the processes, in place, and return it."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def mean(self, values: list[float]) -> list[float]:
        """Return the means of ``values`` over the processes.

        The device is waited for once, where there are several.
        """
        if self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64).to(self.device, non_blocking=True)
        return (self.all_reduce(tensor) / self.count).tolist()

    def all_gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return every process's tensor, (B, ...), joined by rank to (P * B, ...).

        No gradient flows.
        """
        if self.count == 1:
            return tensor.detach()
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        distributed.all_gather(parts, tensor.detach().contiguous())
        return torch.cat(parts)

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes, in one exchange.

        Those of sharded weights are means already.

        Args:
            parameters: that train, alike and in the same order in all processes; those without a
                gradient are left out.
        """
        gradients = [
            p.grad for p in parameters if p.grad is not None and not isinstance(p.grad, DTensor)
        ]
        if self.count == 1 or not gradients:
            return
        flat = self.all_reduce(torch.cat([g.flatten() for g in gradients])) / self.count
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            distributed.barrier()

    def broadcast(self, value: Any) -> Any:
        """Return the first process's ``value``, any picklable object, in all of them."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0, device=self.device)
        return values[0]


def alone(device: torch.device | None = None) -> Processes:
    """Return the one process of a run without workers.

    Args:
        device: where the models are, by default on the CPU. Accelerators other than CUDA's lack
            operations of training (the bicubic sampling of views on Apple's), so that the CPU
            stands in for them.
    """
    return Processes(
        0, 1, device if device is not None and device.type == "cuda" else torch.device("cpu")
    )


def join(kind: str = "cuda") -> Processes:
    """Join the processes that torch.distributed.run has started: NCCL on GPUs, gloo on CPUs.

    Args:
        kind: ``cuda`` or ``cpu``; without a GPU it is the CPU.

    Raises:
        UserError: there are fewer GPUs than processes.
    """
    device = _own_device("num_processes", kind)
    if device.type == "cuda":
        distributed.init_process_group("nccl", timeout=_TIMEOUT, device_id=device)
    else:
        distributed.init_process_group("gloo", timeout=_TIMEOUT)
    return Processes(distributed.get_rank(), distributed.get_world_size(), device, is_worker=True)


def stand_apart(kind: str = "cuda") -> Processes:
    """Return this process as one that trains by itself beside the others.

    torch.distributed.run has started them.

    Args:
        kind: ``cuda`` or ``cpu``; without a GPU it is the CPU.

    Raises:
        UserError: there are fewer GPUs than processes.
    """
    return Processes(0, 1, _own_device("num_methods_at_once", kind), is_worker=True)


def _own_device(parameter: str, kind: str) -> torch.device:
    """Return this process's GPU, made PyTorch's current one, or the CPU.

    The CPU is taken where there is no GPU, or none asked for.
    """
    if kind == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local_rank = int(os.environ["LOCAL_RANK"])
    num_gpus = torch.cuda.device_count()
    if local_rank >= num_gpus:
        raise UserError(
            f"{parameter} is more than the {num_gpus} GPU(s) of this host, of which each takes one"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
