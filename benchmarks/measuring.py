"""Time, peak memory and operations of a call, on a CPU (Linux) and on a GPU."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

_STEPS_A_TURN = 3  # on a GPU, after one that warms the allocator


def peak_memory(step: Callable[[int], None], device: str) -> int:
    """Return the peak memory in bytes while ``step(0)`` runs.

    On a CPU it is resident memory above what was there before, on a GPU all that is allocated
    there.
    """
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        step(0)
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    free_memory()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = _status_bytes("VmRSS")
    step(0)
    return _status_bytes("VmHWM") - before


def time_step(step: Callable[[int], None], device: str) -> tuple[float, float]:
    """Return seconds of a step, and seconds that the cores worked on it, which other load touches
    less.

    On a GPU it is the median of a few; its memory is given back for the other's turn.
    """
    if device == "cpu":
        return _time(step, 1)
    step(0)
    times = [_time(step, number) for number in range(1, _STEPS_A_TURN + 1)]
    free_memory()
    seconds, work = (statistics.median(column) for column in zip(*times, strict=True))
    return seconds, work


def _time(step: Callable[[int], None], number: int) -> tuple[float, float]:
    _synchronize()
    started = time.perf_counter(), time.process_time()
    step(number)
    _synchronize()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def count_operations(step: Callable[[int], None]) -> int:
    """Return the operations of a step's matrix products, convolutions and attention, as
    executed.
    """
    with FlopCounterMode(display=False) as counter:
        step(0)
    return counter.get_total_flops()


def free_memory() -> None:
    """Give back what is not in use."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _status_bytes(name: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024
