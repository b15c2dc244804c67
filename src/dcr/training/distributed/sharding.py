"""FSDP2: weights, gradients and optimizer state spread over the processes that train together.

Before a block computes, its weights are put together, and they are dropped again after it;
gradients come out as the mean over the processes, each process with its shard
(torch.distributed.fsdp.fully_shard; arXiv 2304.11277). What concerns full tensors is a collective:
all processes call it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from dcr.training.distributed.processes import Processes


def shard(model: nn.Module, blocks: Iterable[nn.Module], processes: Processes) -> None:
    """Spread a model's weights over processes, in place; parameters are new, names the same.

    Args:
        model: all that trains, and what it stands in.
        blocks: parts of it whose weights are gathered one after the other; the rest is gathered at
            once.
        processes: those that train together.
    """
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def full_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of which every process has a part; any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local_shard(tensor: torch.Tensor) -> torch.Tensor:
    """Return this process's part of a tensor, which is all of it if it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Return this process's part of a whole tensor, on the parameter's device.

    Args:
        tensor: whole, the same in all processes.
        parameter: of that shape; it says how the part is cut, and all of the tensor is returned if
            it is not sharded.
    """
    tensor = tensor.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return tensor
    return distribute_tensor(
        tensor, parameter.device_mesh, parameter.placements, src_data_rank=None
    )
