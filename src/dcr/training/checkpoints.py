"""Checkpoints of a run: written whole or not at all, checksummed, valid for one configuration.

A checkpoint is a folder ``checkpoint-{step}/`` with ``state.safetensors`` (trained weights and
AdamW's moments), ``state.json`` (step, samples seen, loss scale, log, fingerprint) and
``SHA256SUMS``, which ``sha256sum -c`` reads. No random state is in it: every draw derives from the
seed and the step.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dcr.errors import UserError
from dcr.files import atomic_folder, sha256_file

Fingerprint = dict[str, Any]
"""What decides a run's course, by name: parameters, and hashes of data, models and code."""

CODE = "code"
PROCESSES = "processes"
"""Names in a fingerprint of what a checkpoint that the user names may differ in."""

TENSORS = "state.safetensors"
STATE = "state.json"
SUMS = "SHA256SUMS"
_NAME = re.compile(r"checkpoint-(\d+)")
_log = logging.getLogger(__name__)


class DamagedCheckpoint(Exception):
    """A checkpoint that is not what was written."""


@dataclass
class Progress:
    """Where a run stands: optimizer steps, samples, seconds, loss scale, one log row a step."""

    step: int
    num_samples: int
    seconds: float
    scaler: dict[str, Any]
    num_skipped: int
    rows: list[dict[str, float]]


class Checkpoints:
    """The checkpoints of one run, in one folder.

    Args:
        folder: holds ``checkpoint-{step}/`` folders; made when the first is saved.
        fingerprint: of this run; checkpoints with another one are skipped. A run that starts anew
            replaces whatever is in the folder with its first checkpoint.
        every_steps: optimizer steps between two checkpoints; the last step is always saved.
        total_limit: how many are kept, the newest.
        resume: ``latest``, ``none``, or the path of one checkpoint of this run, which may come from
            other code and from another number of processes; a path to another run's checkpoint
            counts as ``latest``.
        others: folders of the same job's earlier runs, read alone: where one of them has this run's
            fingerprint, this run goes on from its steps.
    """

    def __init__(
        self,
        folder: str | Path,
        fingerprint: Fingerprint,
        every_steps: int,
        total_limit: int,
        resume: str,
        others: Sequence[Path] = (),
    ) -> None:
        self.others = others
        self.folder = Path(folder)
        self.fingerprint = json.loads(json.dumps(fingerprint))
        self.every_steps = every_steps
        self.total_limit = total_limit
        self.resume = resume
        self._starts_anew = False

    def find(self, max_step: int) -> Path | None:
        """Return the checkpoint to go on from, not beyond ``max_step``; None to start anew.

        Raises:
            UserError: ``resume`` is the path of a checkpoint that is damaged, beyond the last step,
                or of another configuration.
        """
        if (
            self.resume not in ("none", "latest")
            and Path(self.resume).resolve().parent == self.folder.resolve()
        ):
            return self._check_given(Path(self.resume), max_step)
        own = self._newest_own(max_step) if self.resume != "none" else None
        self._starts_anew = own is None
        other = self._newest_other(max_step)
        return other if own is None or (other is not None and _step(other) > _step(own)) else own

    def _newest_own(self, max_step: int) -> Path | None:
        for path in reversed(_checkpoints_in(self.folder)):
            if (problem := self._problem(path, max_step, self.fingerprint)) is None:
                return path
            _log.warning("%s is skipped: %s.", path, problem)
        return None

    def _newest_other(self, max_step: int) -> Path | None:
        paths = sorted(
            (path for folder in self.others for path in _checkpoints_in(folder)),
            key=_step,
            reverse=True,
        )
        return next(
            (path for path in paths if self._problem(path, max_step, self.fingerprint) is None),
            None,
        )

    def save(self, tensors: dict[str, torch.Tensor], progress: Progress) -> Path:
        """Write a checkpoint of the step, remove what ``total_limit`` excludes; return its folder.

        The newest ``total_limit`` are kept.

        Args:
            tensors: trained weights and AdamW's moments by name, as
                `dcr.training.state.training_state` returns them.
            progress: where the run stands; its step names the checkpoint.
        """
        path = self.folder / f"checkpoint-{progress.step}"
        with atomic_folder(path) as folder:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                folder / TENSORS,
            )
            state = {"fingerprint": self.fingerprint, **asdict(progress)}
            (folder / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
            sums = "".join(f"{sha256_file(folder / name)}  {name}\n" for name in (TENSORS, STATE))
            (folder / SUMS).write_text(sums, encoding="utf-8")
        self._prune(path)
        return path

    def load(self, path: Path) -> tuple[dict[str, torch.Tensor], Progress]:
        """Return what `save` was given; UserError if it comes from code that wrote other files.

        Args:
            path: the checkpoint's folder, which `find` has returned.
        """
        state = _read_state(path)
        state.pop("fingerprint")
        try:
            return load_file(path / TENSORS), Progress(**state)
        except (SafetensorError, TypeError) as exc:
            raise UserError(
                f"{path} was written by another version ({exc}); set checkpoints.resume_from to"
                " latest or none"
            ) from exc

    def _check_given(self, path: Path, max_step: int) -> Path:
        own = self.fingerprint.items()
        fingerprint = {name: value for name, value in own if name not in (CODE, PROCESSES)}
        if problem := self._problem(path, max_step, fingerprint):
            raise UserError(
                f"training.checkpoints.resume_from {path}: {problem}; give another"
                " checkpoint, or latest to take the newest that fits"
            )
        return path

    def _problem(self, path: Path, max_step: int, fingerprint: Fingerprint) -> str | None:
        """Return why the run cannot go on from this checkpoint, None if it can."""
        try:
            state = _read_state(path)
            if state["step"] > max_step:
                return f"it lies beyond the run's {max_step} steps"
            theirs = state["fingerprint"]
            for name in sorted(fingerprint):
                if fingerprint[name] != theirs.get(name):
                    values = (
                        f"{name} is {_short(theirs.get(name))} there, {_short(fingerprint[name])}"
                        " here"
                    )
                    return f"it belongs to another configuration ({values})"
            _verify(path)  # last, as it reads all of the weights
        except DamagedCheckpoint as exc:
            return f"it is damaged ({exc})"
        return None

    def _prune(self, newest: Path) -> None:
        """Keep the newest ``total_limit`` up to ``newest``; what lies beyond, this run skipped."""
        paths = _checkpoints_in(self.folder)
        kept = paths[: paths.index(newest) + 1][-1 if self._starts_anew else -self.total_limit :]
        for path in set(paths) - set(kept):
            shutil.rmtree(path, ignore_errors=True)
        self._starts_anew = False
        # They are of processes that were killed while they wrote.
        for leftover in self.folder.glob(".checkpoint-*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _checkpoints_in(folder: Path) -> list[Path]:
    """Return a folder's checkpoints by ascending step."""
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)),
        key=_step,
    )


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _verify(path: Path) -> None:
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


def _read_state(path: Path) -> dict[str, Any]:
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


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 24 else text[:12] + "…"
