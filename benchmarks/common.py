"""What the benchmarks share: images, the clock, and what a figure must say of the machine it was measured on."""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image


def noisy_jpeg(generator: np.random.Generator) -> bytes:
    """Return a JPEG of 341 x 256 pixels, quality 95: what img2dataset stores of a photograph for 224 px models."""
    small = Image.fromarray(generator.integers(0, 256, (32, 43, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize((341, 256), Image.Resampling.BICUBIC)).astype(int)
    noisy = (pixels + generator.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def measure(function: Callable[[], object]) -> float:
    """Return the seconds a call takes, until the device is done."""
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def alternate(functions: list[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Return for each function its seconds in every round; in a round they run one after the other."""
    rounds = [[measure(function) for function in functions] for _ in range(repeats)]
    return [list(column) for column in zip(*rounds, strict=True)]


def ratio(bare: list[float], whole: list[float]) -> float:
    """Return the median over rounds of bare seconds over whole seconds: what is left of the bare speed."""
    return round(statistics.median(b / w for b, w in zip(bare, whole, strict=True)), 3)


def environment(*packages: str) -> dict[str, Any]:
    """Return device, cores that may be used, threads, load of the last minute, and versions."""
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("torch", *packages)},
    }


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows ``--json`` and ``--repeats``."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, help="write the figures to this file")
    made.add_argument("--repeats", type=int, default=3, help="rounds, of which the median counts")
    return made


def tell(figures: dict[str, Any], path: Path | None) -> None:
    """Print the figures, and write them if there is a path."""
    text = json.dumps(figures, indent=1)
    print(text)
    if path:
        path.write_text(text, encoding="utf-8")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "CPU"
