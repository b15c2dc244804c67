"""Is this card right, and how fast is it: every path's weights against the CPU's, hidden waits,
then the step's speed.

    python benchmarks/gpu_check.py            # both parts
    python benchmarks/gpu_check.py --check    # the first alone, as `make test-gpu` runs it;
                                              # neither part has been timed on a card

The first part trains the tests' small models in float32 and in bfloat16, on the CPU and on the GPU;
what is compiled on the GPU is not on the CPU. They round otherwise, and AdamW makes a step of the
same length of the smallest gradient, so weights are compared by the length of their difference over
that of the CPU's weights. With deterministic algorithms each path is trained twice, to the same
bits. Waits are those that PyTorch tells of (`set_sync_debug_mode`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from common import environment, parser, tell
from dcr.devices import resolve_device

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from device_runs import prepare
from training_world import write_world

STEPS = 2
WAITS_A_STEP = 3
SPEED_SECONDS = 9 * 60
TABLE_SECONDS = 150  # of which building the models is a part
# Largest difference of weights and of the logged loss, relative; not yet calibrated on a card.
TOLERANCES = {"no": (1e-3, 1e-4), "bf16": (1e-2, 2e-2)}
SAVINGS = {
    "execution.constant_prompt": True,
    "execution.shared_prefix": True,
    "execution.folded_upsampling": True,
}
PATHS = {
    "stage1": ("stage1", {}),
    # more samples than there are crops, without which none are kept
    "kept_features": (
        "stage1",
        {"execution.cache_features": True, "stage1.train_batch_size": 16},
    ),
    "dcr": ("dcr", {}),
    "reconstruction": ("reconstruction", {}),
    "naive": ("naive", {}),
    "savings": ("dcr", SAVINGS),
    "split_gates": ("dcr", SAVINGS | {"execution.split_gates": True}),
    "channels_last": ("dcr", SAVINGS | {"execution.channels_last": True}),
    "compiled": ("dcr", SAVINGS | {"compile": True}),
    "cuda_graphs": ("dcr", SAVINGS | {"compile": True, "execution.cuda_graphs": True}),
    "recomputed": (
        "dcr",
        {"execution.gradient_checkpointing": "all", "execution.folded_upsampling": True},
    ),
    "approximate": (
        "dcr",
        {"batches.negatives_count": 2, "loss.negatives_gradient": False, "loss.target_weight": 0.3},
    ),
    "pulled": (
        "dcr",
        {
            "loss.reconstruction_share": 0.3,
            "loss.base_embedding_weight": 0.5,
            "batches.num_views": 2,
            "batches.snr_gamma": 5.0,
        },
    ),
    "macl": ("dcr", {"signal.name": "macl"}),
    "tokens": (
        "dcr",
        {"condition": "patch_tokens", "tuning.mode": "last_blocks", "tuning.num_blocks": 1},
    ),
}

ON_THE_CARD = {"compile": False, "execution.cuda_graphs": False}
"""What a CPU does not know, or takes minutes for, and is there instead."""


@dataclass(frozen=True)
class Found:
    """How far a path's weights and first loss lie from the CPU's, relative, and what is allowed."""

    path: str
    precision: str
    weights: float
    loss: float

    @property
    def is_right(self) -> bool:
        """Whether both lie within the tolerance; nan does not."""
        weights, loss = TOLERANCES[self.precision]
        return self.weights <= weights and self.loss <= loss


def known_on(device: torch.device, changes: dict) -> dict:
    """Return a path's changes as the device knows them."""
    return changes if device.type == "cuda" else changes | ON_THE_CARD


def check_path(world: Path, folder: Path, path: str, precision: str, device: torch.device) -> Found:
    """Train by a path on both devices and compare."""
    name, changes = PATHS[path]
    # Each device draws its own dropout.
    changes = changes | {"mixed_precision": precision, "tuning.lora.dropout": 0.0}
    results = [
        prepare(
            world,
            folder / f"{path}-{precision}-{number}",
            name,
            STEPS,
            **known_on(where, changes),
        )(where)
        for number, where in enumerate((torch.device("cpu"), device))
    ]
    (expected, expected_log), (weights, log) = results
    assert expected.keys() == weights.keys()
    apart = sum((weights[key] - expected[key]).double().square().sum() for key in expected) ** 0.5
    length = sum(expected[key].double().square().sum() for key in expected) ** 0.5
    loss = abs(log["loss"][0] - expected_log["loss"][0]) / abs(expected_log["loss"][0])
    return Found(path, precision, float(apart / length), float(loss))


def check_repetition(
    world: Path, folder: Path, path: str, precision: str, device: torch.device
) -> bool:
    """Return whether two trainings by a path with deterministic algorithms give the same bits."""
    name, changes = PATHS[path]
    asked = {"mixed_precision": precision, "execution.deterministic": True}
    changes = known_on(device, changes) | asked
    (first, _), (second, _) = (
        prepare(world, folder / f"{path}-{precision}-{turn}", name, STEPS, **changes)(device)
        for turn in ("first", "again")
    )
    return all(torch.equal(first[key], second[key]) for key in first)


def count_waits(world: Path, folder: Path, path: str, device: torch.device) -> Counter[str]:
    """Return the waits of one step of a path, ``file:line`` to their number, as PyTorch tells
    of them.
    """
    name, changes = PATHS[path]
    changes = known_on(device, changes)
    found = []
    for steps in (STEPS, STEPS + 1):
        run = prepare(
            world, folder / f"{path}-{steps}-waits", name, steps, rows_per_chunk=1, **changes
        )
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                run(device)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        found.append(
            Counter(f"{w.filename}:{w.lineno}" for w in told if "synchroniz" in str(w.message))
        )
    return found[1] - found[0]


def check(
    device: torch.device, precisions: tuple[str, ...] = ("no", "bf16")
) -> tuple[list[Found], list[str], dict[str, Counter]]:
    """Compare every path with the CPU and with itself, and count its waits.

    Returns:
        Every path's differences; the paths that deterministic algorithms do not make repeatable;
        where a step waits more often than it should, by path.
    """
    with tempfile.TemporaryDirectory() as temporary:
        world = write_world(Path(temporary, "world"))
        found = [
            check_path(world, Path(temporary), path, precision, device)
            for precision in precisions
            for path in PATHS
        ]
        other = [
            path
            for path in PATHS
            if not check_repetition(world, Path(temporary), path, precisions[-1], device)
        ]
        asked = PATHS if device.type == "cuda" else ()
        waits = {path: count_waits(world, Path(temporary), path, device) for path in asked}
    return (
        found,
        other,
        {path: counted for path, counted in waits.items() if counted.total() > WAITS_A_STEP},
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the check, print what was found, and end with code 1 if anything is wrong; then
    measure the speed.
    """
    made = parser(__doc__)
    made.add_argument("--check", action="store_true", help="the first part alone")
    options = made.parse_args(arguments)
    if not torch.cuda.is_available():
        made.exit(
            1,
            "gpu_check: PyTorch finds no CUDA device on this machine; run it where `nvidia-smi`"
            " lists one\n",
        )
    started = time.perf_counter()
    found, other, waits = check(resolve_device("cuda"))
    tell(
        environment("accelerate", "diffusers", "open_clip_torch", "peft", "transformers")
        | {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        | {"seconds": round(time.perf_counter() - started)}
        | {"paths": [vars(one) | {"right": one.is_right} for one in found]}
        | {"not_repeated": other}
        | {"waits": {path: dict(counted) for path, counted in waits.items()}},
        options.json,
    )
    wrong = [f"{one.path} ({one.precision})" for one in found if not one.is_right]
    wrong += [f"{path} is not repeated" for path in other]
    wrong += [f"{path} waits" for path in waits]
    if wrong:
        made.exit(1, f"gpu_check: not as on the CPU: {', '.join(wrong)}\n")
    if not options.check:
        step = [
            sys.executable,
            str(Path(__file__).with_name("step.py")),
            "--repeats",
            str(options.repeats),
            "--table",
            str(TABLE_SECONDS),
        ]
        try:
            made.exit(subprocess.run(step, timeout=SPEED_SECONDS).returncode)
        except subprocess.TimeoutExpired:
            made.exit(
                1,
                f"gpu_check: step.py took more than {SPEED_SECONDS} s; run it by itself, with"
                " --repeats 1\n",
            )


if __name__ == "__main__":
    main()
