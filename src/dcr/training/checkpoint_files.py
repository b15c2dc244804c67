"""The files of a checkpoint, and whether they are what was written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dcr.files import sha256_file

TENSORS = "state.safetensors"
STATE = "state.json"
SUMS = "SHA256SUMS"
NAME = re.compile(r"checkpoint-(\d+)")
"""Of a checkpoint's folder."""


class DamagedCheckpoint(Exception):
    """A checkpoint that is not what was written."""


def checkpoints_in(folder: Path) -> list[Path]:
    """Return a folder's checkpoints by ascending step."""
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if path.is_dir() and NAME.fullmatch(path.name)),
        key=step_of,
    )


def step_of(path: Path | str) -> int:
    """Return the step that a checkpoint's folder, ``path``, is named by."""
    return int(str(path).rpartition("-")[2])


def verify(path: Path) -> None:
    """Compare the files of the checkpoint at ``path`` with their sums.

    Raises:
        DamagedCheckpoint: one is missing or has another.
    """
    try:
        lines = (path / SUMS).read_text(encoding="utf-8").splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        if sums.keys() != {TENSORS, STATE}:
            raise DamagedCheckpoint(f"{SUMS} does not name its files")
        for name, digest in sums.items():
            if sha256_file(path / name) != digest:
                raise DamagedCheckpoint(f"{name} does not have its checksum")
    except (OSError, UnicodeDecodeError) as exc:
        raise DamagedCheckpoint(str(exc)) from exc


def read_state(path: Path) -> dict[str, Any]:
    """Return what `STATE` of the checkpoint at ``path`` holds.

    Raises:
        DamagedCheckpoint: it cannot be read, or is no state.
    """
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DamagedCheckpoint(str(exc)) from exc
    kinds = {"fingerprint": dict, "step": int}
    if not isinstance(state, dict) or not all(
        isinstance(state.get(name), kind) for name, kind in kinds.items()
    ):
        raise DamagedCheckpoint(f"{STATE} holds no fingerprint or no step")
    return state
