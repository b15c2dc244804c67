"""Time and memory of one DCR step beside the published formulation, in one run.

    python benchmarks/step.py --json step.json
    python benchmarks/step.py --image-size 336 --largest-batch 24 80 --json step_336.json      # on
    a GPU

The plain step is written straight from the published description: it encodes images with the VAE
and the empty prompt with the text encoder, augments image by image on the CPU, and holds the whole
B x B grid of predictions in one graph. The trainer's step is the trainer's own, from cached crops
and moments, with all exact savings; on a CPU gates are split, too, which has not been measured on a
GPU. It is not compiled: on a CPU compiled blocks keep less, so that a third row finds room
(--compile --rows-per-chunk 3), but cost more time than they save where a core multiplies fast
(RESULTS.md). Weights are random. On a CPU the models have Stable Diffusion 2.1's shape scaled down,
in float32; on a GPU they are Stable Diffusion 2.1 and ViT-L/14, in bfloat16.

Time of the host beside the step's tells whether a GPU waits for it: the host's is without its waits
for the device. The share of the peak counts useful operations alone, not those that checkpointing
computes a second time (benchmarks/counts.py). --table times the trainer's step alone by rows held
at once, with and without each saving.

Each step runs in a process of its own, so that neither finds a heap that the other has grown, and
they take turns, so that other load meets both alike; medians are compared. Memory is the median
peak of three steps after a first one: on a CPU above what the process holds before it, on a GPU all
that is allocated, weights included. Loss and gradients are compared on one fixed batch in float32,
without dropout; on a GPU on its first four samples.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import statistics
from collections.abc import Callable
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from common import device_name
from counts import useful_operations
from measuring import Timed, device_seconds, free_memory, median, peak_memory, time_step
from step_table import FLAGS, serve_table
from two_steps import PlainStep, Setting, Step, TrainerStep, draw_samples

# Dense bfloat16 operations a second of NVIDIA's data sheets, by words of the device's name; the
# first that fits.
PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "GH200": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A800": 312e12,
    "A10G": 70e12,
    "A10": 125e12,
    "A40": 149.7e12,
    "A30": 165e12,
    "RTX A6000": 154.8e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 6000 Ada": 364e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
}

ON_CPU = {
    "models": "small",
    "batch_size": 8,
    "image_size": 128,
    "rows_per_chunk": 2,
    "compile": False,
    "split_gates": True,
    "channels_last": False,
    "mixed_precision": "no",
    "gradient_checkpointing": "none",
}
ON_GPU = {
    "models": "full",
    "batch_size": 16,
    "image_size": 224,
    "rows_per_chunk": 2,
    "compile": False,
    "split_gates": False,
    "channels_last": False,
    "mixed_precision": "bf16",
    "gradient_checkpointing": "tower",
}


_PEAKS = 3  # of which the median counts: a heap's holes differ from step to step


def serve(kind: type[Step], setting: Setting, connection: Connection) -> None:
    """Build a step in this process, tell its results and cost, then take timed steps at every
    request.
    """
    # float32 is float32 in the comparison; bfloat16 knows no other.
    torch.backends.cudnn.allow_tf32 = False
    step = kind(setting)
    loss, gradient = step.compare(setting.batch_size if setting.device == "cpu" else 4)
    free_memory()
    step.prepare()
    try:
        step(0)  # compiles, and allocates what stays
        peak = statistics.median(peak_memory(step, setting.device) for _ in range(_PEAKS))
        on_device = None if setting.device == "cpu" else device_seconds(step)
    except torch.cuda.OutOfMemoryError:
        peak = on_device = None
    free_memory()
    connection.send(
        {"loss": loss, "gradient": gradient.numpy(), "peak": peak, "device_seconds": on_device}
    )
    while connection.recv():
        connection.send(time_step(step, setting.device))


def serve_largest(setting: Setting, limit: int, connection: Connection) -> None:
    """Tell the largest batch whose step of the trainer, one row at a time, fits in ``limit``
    bytes.
    """
    torch.cuda.set_per_process_memory_fraction(
        limit / torch.cuda.get_device_properties(0).total_memory
    )
    step = TrainerStep(replace(setting, rows_per_chunk=1))
    step.prepare()

    def fits(batch_size: int) -> bool:
        free_memory()
        step.collated = draw_samples(replace(setting, batch_size=batch_size), step.diffusion)
        try:
            step(0)
        except torch.cuda.OutOfMemoryError:
            return False
        return True

    connection.send(largest(fits))


def largest(fits: Callable[[int], bool]) -> int:
    """Return the largest number that fits, 0 if not even 1 does; whatever is less fits too."""
    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


class Child:
    """A process that runs ``target(*args, connection)``."""

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=target, args=(*args, other), daemon=True)
        self.process.start()
        other.close()  # so that its end is noticed here

    def receive(self) -> Any:
        """Return what the process tells next."""
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join()
            raise SystemExit(
                f"a measured process ended with code {self.process.exitcode} (-9: the machine had"
                " no memory left); take a smaller --batch-size or --image-size"
            ) from None

    def ask(self) -> Any:
        """Have the process take a turn, and return what it tells."""
        self.connection.send(True)
        return self.receive()

    def close(self) -> None:
        """End the process."""
        self.connection.send(False)
        self.process.join()


def measure(setting: Setting, repeats: int) -> dict[str, Any]:
    """Run both steps in turns and return ratios, times, peaks and how far apart their results
    are.
    """
    children = [Child(serve, kind, setting) for kind in (PlainStep, TrainerStep)]
    told = [child.receive() for child in children]
    turns: list[list[Timed]] = [[], []]
    for _ in range(repeats):
        for child, own, times in zip(children, told, turns, strict=True):
            if own["peak"] is not None:
                times.append(child.ask())
    for child in children:
        child.close()
    none = Timed(None, None, None)
    plain_time, time = (median(times) if times else none for times in turns)
    plain, own = told
    gradients = [torch.from_numpy(side["gradient"]) for side in told]
    return {
        "time_ratio": _ratio(time.passed, plain_time.passed),
        "memory_ratio": _ratio(own["peak"], plain["peak"]),
        "loss_rel_diff": abs(own["loss"] - plain["loss"]) / abs(plain["loss"]),
        "grad_rel_diff": ((gradients[1] - gradients[0]).norm() / gradients[0].norm()).item(),
        "core_time_ratio": _ratio(time.worked, plain_time.worked),
        "plain_seconds": plain_time.passed,
        "seconds": time.passed,
        "spread": [_spread(times) for times in turns],
        "host_seconds": time.host,
        "device_seconds": own["device_seconds"],
        "plain_mebibytes": plain["peak"] and plain["peak"] / 2**20,
        "mebibytes": own["peak"] and own["peak"] / 2**20,
    }


def _spread(times: list[Timed]) -> list[float]:
    """Return the least and the most seconds of a step's turns; none where it had none."""
    passed = [time.passed for time in times]
    return [min(passed), max(passed)] if passed else []


def _ratio(own: float | None, plain: float | None) -> float | None:
    """Return None where one of the steps did not fit into memory."""
    return None if own is None or plain is None else own / plain


def measure_gpu(setting: Setting, limits: list[int]) -> dict[str, Any]:
    """Return the largest batches that fit in ``limits`` gigabytes."""
    total = torch.cuda.get_device_properties(0).total_memory
    largest_batches = {}
    for limit in limits:
        if limit * 10**9 <= total:
            child = Child(serve_largest, setting, limit * 10**9)
            largest_batches[f"{limit} GB"] = child.receive()
            child.process.join()
    return {"largest_batch": largest_batches}


def peak_share(operations: int, seconds: float | None, setting: Setting) -> float | None:
    """Return the share of a GPU's peak that useful operations have, None where it is not known.

    Args:
        operations: of the step, those that are computed a second time left out.
        seconds: that it took, None if it did not fit.
        setting: of the step.
    """
    if setting.device == "cpu" or seconds is None or setting.mixed_precision != "bf16":
        return None
    peak = peak_operations(torch.cuda.get_device_name())
    return None if peak is None else operations / seconds / peak


def with_share(row: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """Return a row of the table with the share of the device's peak."""
    own = replace(setting, **{name: row[name] for name in FLAGS})
    return row | {"peak_share": peak_share(useful_operations(own), row["seconds"], own)}


def peak_operations(name: str) -> float | None:
    """Return the dense bfloat16 operations a second of a device by its name, None if it is not
    known.
    """
    return next((peak for words, peak in PEAKS.items() if re.search(rf"\b{words}\b", name)), None)


def parse(arguments: list[str] | None = None) -> tuple[argparse.Namespace, Setting]:
    """Return the options and what they ask to measure; defaults depend on the device."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--models", choices=["small", "full"], help="by default full on a GPU")
    parser.add_argument("--batch-size", type=int, help="by default 8, on a GPU 16")
    parser.add_argument("--image-size", type=int, help="by default 128, on a GPU 224")
    parser.add_argument("--rows-per-chunk", type=int, help="by default 2")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="the trainer's blocks; by default not",
    )
    parser.add_argument(
        "--split-gates",
        action=argparse.BooleanOptionalAction,
        help="the UNet's gated layers in the trainer's step; by default on a CPU alone",
    )
    parser.add_argument(
        "--channels-last",
        action=argparse.BooleanOptionalAction,
        help="the UNet's convolutions in the trainer's step; by default not",
    )
    parser.add_argument(
        "--mixed-precision", choices=["no", "bf16"], help="by default bf16 on a GPU"
    )
    parser.add_argument(
        "--gradient-checkpointing",
        choices=["none", "tower", "all"],
        help="the trainer's; by default tower on a GPU",
    )
    parser.add_argument("--repeats", type=int, default=5, help="turns that each step takes")
    parser.add_argument(
        "--table",
        type=float,
        default=0,
        metavar="SECONDS",
        help="also time the trainer's step by rows held at once, with and without each saving, as"
        " far as it comes in so long",
    )
    parser.add_argument(
        "--largest-batch",
        type=int,
        nargs="*",
        default=[],
        metavar="GB",
        help="on a GPU: find what fits in so much",
    )
    options = parser.parse_args(arguments)
    chosen = {
        name: value for name, value in vars(options).items() if name in ON_CPU and value is not None
    }
    setting = Setting(
        device=options.device, **(ON_GPU if options.device == "cuda" else ON_CPU) | chosen
    )
    if setting.compile and not shutil.which(os.environ.get("CXX", "g++")):
        parser.error(
            "there is no C++ compiler (g++, or what CXX names) for --compile; install one, or leave"
            " it out"
        )
    return options, setting


def main() -> None:
    """Run both steps, print the figures and write them."""
    options, setting = parse()
    result = measure(setting, options.repeats)
    result |= asdict(setting) | {"device": device_name(setting.device), "repeats": options.repeats}
    result |= {"threads": torch.get_num_threads(), "torch": torch.__version__}
    operations = useful_operations(setting)
    result |= {"useful_teraflop": operations / 1e12}
    result |= {"peak_share": peak_share(operations, result["seconds"], setting)}
    if setting.device == "cuda":
        result |= measure_gpu(setting, options.largest_batch)
    if options.table:
        child = Child(serve_table, setting, options.table)
        result |= {"table": [with_share(row, setting) for row in child.receive()]}
        child.process.join()
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
