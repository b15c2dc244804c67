"""How much memory a step may take of what is free."""

from __future__ import annotations

import psutil
import torch

MEMORY_SHARE = 0.7
"""Of free memory; the rest is workspace and fragmentation."""


def free_bytes(device: torch.device, num_processes: int) -> int:
    """Return how much memory a process has left.

    Args:
        device: whose memory it is.
        num_processes: that share the host's, where the device is the CPU.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        # What the allocator keeps is as good as free.
        return torch.cuda.mem_get_info(device)[0] + kept
    available: int = psutil.virtual_memory().available
    return available // num_processes
