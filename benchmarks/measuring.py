"""Time and peak memory of a call, on a CPU (Linux) and on a GPU."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch

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


class Timed(NamedTuple):
    """A step's time in seconds.

    Attributes:
        passed: by the clock.
        worked: that the cores worked on it, which other load touches less.
        host: until the last was handed to the device, waits for it taken off; on a CPU, which is
            its own device, all that passed.
    """

    passed: float
    worked: float
    host: float


def time_step(step: Callable[[int], None], device: str) -> Timed:
    """Return the time of a step.

    On a GPU it is the median of a few; its memory is given back for the other's turn.
    """
    if device == "cpu":
        return _time(step, 1)
    step(0)
    times = [_time(step, number) for number in range(1, _STEPS_A_TURN + 1)]
    free_memory()
    return median(times)


def median(times: Sequence[Timed]) -> Timed:
    """Return the median of each of a step's times."""
    return Timed(*(statistics.median(column) for column in zip(*times, strict=True)))


def device_seconds(step: Callable[[int], None]) -> float | None:
    """Return how long a GPU's kernels and copies run in a step, by PyTorch's profiler.

    What runs beside another is counted twice. None where the profiler sees none.
    """
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        step(0)
        _synchronize()
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6 or None


def _time(step: Callable[[int], None], number: int) -> Timed:
    _synchronize()
    with waits() as waited:
        started = time.perf_counter(), time.process_time()
        step(number)
        asked = time.perf_counter()
        _synchronize()
        waited.append(time.perf_counter() - asked)
        passed = time.perf_counter() - started[0]
    return Timed(passed, time.process_time() - started[1], passed - sum(waited))


@contextmanager
def waits() -> Iterator[list[float]]:
    """Yield a list that takes the seconds of every wait for numbers of a GPU's tensor."""
    waited: list[float] = []

    def timed(read: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], Any]:
        def read_and_note(tensor: torch.Tensor) -> Any:
            started = time.perf_counter()
            values = read(tensor)
            if tensor.is_cuda:
                waited.append(time.perf_counter() - started)
            return values

        return read_and_note

    with ExitStack() as stack:
        for name in ("item", "tolist"):
            read = timed(getattr(torch.Tensor, name))
            stack.enter_context(mock.patch.object(torch.Tensor, name, read))
        yield waited


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
