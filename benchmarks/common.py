"""What the benchmarks share: images, the clock, and what a figure must say of the machine it was
measured on.

PyTorch is imported where it is needed, as it would count in the memory of what is measured without
it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

# Benchmarks measure on the models and sets that the tests build; they import this module first.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))


def noisy_jpeg(generator: np.random.Generator) -> bytes:
    """Return a JPEG of 341 x 256 pixels, quality 95: what img2dataset stores of a photograph
    for 224 px models.
    """
    small = Image.fromarray(generator.integers(0, 256, (32, 43, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize((341, 256), Image.Resampling.BICUBIC)).astype(int)
    noisy = (pixels + generator.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


class Seconds(NamedTuple):
    """By the clock on the wall, and of the processor's time that this process got, all of its
    threads together.
    """

    wall: float
    processor: float


def measure(function: Callable[[], object]) -> Seconds:
    """Return how long a call takes, until the device is done."""
    import torch

    start = Seconds(time.perf_counter(), time.process_time())
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Seconds(time.perf_counter() - start.wall, time.process_time() - start.processor)


def alternate(functions: list[Callable[[], object]], repeats: int) -> list[list[Seconds]]:
    """Return for each function its seconds in every round; in a round they run one after the
    other.
    """
    rounds = [[measure(function) for function in functions] for _ in range(repeats)]
    return [list(column) for column in zip(*rounds, strict=True)]


def ratios(first: list[Seconds], second: list[Seconds]) -> tuple[float, float]:
    """Return the median over rounds of first over second: by the wall's clock, and by the
    processor's time.

    On a processor that others use too the second is the one to look at, as long as this process
    does all the work.
    """
    rounds = [np.divide(a, b) for a, b in zip(first, second, strict=True)]
    return tuple(round(float(value), 3) for value in np.median(rounds, axis=0))


def rate(seconds: list[Seconds], count: int) -> float:
    """Return items per second by the wall's clock, the median over rounds."""
    return round(count / statistics.median(s.wall for s in seconds), 2)


def environment(*packages: str) -> dict[str, Any]:
    """Return device, cores that may be used, threads, load of the last minute, and versions."""
    import torch

    return {
        "device": device_name("cuda" if torch.cuda.is_available() else "cpu"),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", *packages)},
    }


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows ``--json`` and ``--repeats``."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", type=Path, help="write the figures to this file")
    made.add_argument("--repeats", type=int, default=3, help="rounds, of which the median counts")
    return made


def tell(figures: dict[str, Any], path: Path | None) -> None:
    """Print the figures, and write them if there is a path."""
    text = json.dumps(figures, indent=1)
    print(text)
    if path:
        path.write_text(text, encoding="utf-8")


def device_name(device: str) -> str:
    """Return the name of the GPU, or the CPU's model and number of cores."""
    if device != "cpu":
        import torch

        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [
        line.partition(":")[2].strip()
        for line in info.splitlines()
        if line.startswith("model name")
    ]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"
