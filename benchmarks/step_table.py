"""The trainer's step by the rows that it holds at once, with and without each saving.

One follows the other in the same process, so that the models are made once: what cannot be taken
back, folded upsampling, split gates, a layout, checkpoints and compiled blocks, comes last. As many
rows of the table are measured as time allows; those that are left are told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import torch

from measuring import device_seconds, free_memory, peak_memory, time_step
from two_steps import Setting, TrainerStep

ROWS = (1, 2, 4, 8, 16)
FLAGS = (
    "rows_per_chunk",
    "constant_prompt",
    "shared_prefix",
    "folded_upsampling",
    "split_gates",
    "gradient_checkpointing",
    "channels_last",
    "compile",
    "cuda_graphs",
    "deterministic",
)
"""What of a setting varies."""

_PLAIN = {
    "constant_prompt": False,
    "shared_prefix": False,
    "folded_upsampling": False,
    "split_gates": False,
    "gradient_checkpointing": "none",
    "channels_last": False,
    "compile": False,
    "cuda_graphs": False,
    "deterministic": False,
}
_BOTH = _PLAIN | {"constant_prompt": True, "shared_prefix": True}
_FOLDED = _BOTH | {"folded_upsampling": True}
_SPLIT = _FOLDED | {"split_gates": True}
_LAST = _SPLIT | {"channels_last": True}
_AGAIN = _LAST | {"gradient_checkpointing": "tower"}
VARIANTS = (
    _PLAIN,
    _PLAIN | {"constant_prompt": True},
    _PLAIN | {"shared_prefix": True},
    _BOTH,
    _BOTH | {"deterministic": True},
    _FOLDED,
    _SPLIT,
    _LAST,
    _AGAIN,
    _AGAIN | {"compile": True},
    _AGAIN | {"compile": True, "cuda_graphs": True},
)


def variants(batch_size: int, device: str) -> Iterator[dict[str, Any]]:
    """Yield the flags of each row of the table, rows that are more than the batch left out, and
    what the device does not know.
    """
    for flags in VARIANTS:
        for rows in ROWS:
            if rows <= batch_size and (device != "cpu" or not flags["cuda_graphs"]):
                yield {"rows_per_chunk": rows} | flags


def serve_table(setting: Setting, limit: float, connection: Connection) -> None:
    """Tell the table of a setting whose flags vary, as far as it comes in ``limit`` seconds."""
    connection.send(measure_table(setting, limit))


def measure_table(setting: Setting, limit: float) -> list[dict[str, Any]]:
    """Return the table: flags, seconds, the host's and the device's, and the peak of memory.

    Args:
        setting: of the step; its flags vary.
        limit: seconds after which no further row is measured, and rows have None.
    """
    started = time.monotonic()
    step = TrainerStep(replace(setting, **_PLAIN))
    step.prepare()
    return [
        flags | (measure_row(step, flags) if time.monotonic() - started < limit else _nothing())
        for flags in variants(setting.batch_size, setting.device)
    ]


def measure_row(step: TrainerStep, flags: dict[str, Any]) -> dict[str, float | None]:
    """Return what a step takes by these flags, once it has run; None of what did not fit."""
    setting = step.setting
    step.setting = replace(setting, **flags)
    step.micro_step = step.build(setting.mixed_precision, flags["gradient_checkpointing"])
    if any(flags[name] and not getattr(setting, name) for name in ("compile", "cuda_graphs")):
        step.micro_step.compile_blocks()
    free_memory()
    try:
        with step.algorithms():
            step(0)
            peak = peak_memory(step, setting.device)
            on_device = None if setting.device == "cpu" else device_seconds(step)
            found = time_step(step, setting.device)
    except torch.cuda.OutOfMemoryError:
        return _nothing()
    return {
        "seconds": found.passed,
        "host_seconds": found.host,
        "device_seconds": on_device,
        "mebibytes": peak / 2**20,
    }


def _nothing() -> dict[str, None]:
    return dict.fromkeys(("seconds", "host_seconds", "device_seconds", "mebibytes"))
