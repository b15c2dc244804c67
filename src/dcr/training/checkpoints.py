"""Checkpoints of a run: written whole or not at all, checksummed, valid for one configuration.

A checkpoint is a folder ``checkpoint-{step}/`` with ``state.safetensors`` (trained weights and
AdamW's moments), ``state.json`` (step, samples seen, loss scale, log, fingerprint) and
``SHA256SUMS``, which ``sha256sum -c`` reads. No random state is in it: every draw derives from the
seed and the step.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dcr.errors import UserError
from dcr.files import atomic_folder, sha256_file
from dcr.training.checkpoint_files import (
    STATE,
    SUMS,
    TENSORS,
    DamagedCheckpoint,
    checkpoints_in,
    read_state,
    step_of,
    verify,
)

if TYPE_CHECKING:
    from dcr.training.copies import Copies

Fingerprint = dict[str, Any]
"""What decides a run's course, by name: parameters, and hashes of data, models and code."""

CODE = "code"
PROCESSES = "processes"
"""Names in a fingerprint of what a checkpoint that the user names may differ in."""

_log = logging.getLogger(__name__)


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
        copies: of this run's checkpoints elsewhere: each that is saved is sent there, and a newer
            one than there is here is fetched.
    """

    def __init__(
        self,
        folder: str | Path,
        fingerprint: Fingerprint,
        every_steps: int,
        total_limit: int,
        resume: str,
        others: Sequence[Path] = (),
        copies: Copies | None = None,
    ) -> None:
        self.copies = copies
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
        other = self._newest_other(max_step)
        if self.copies is not None and self.resume != "none":
            own = self._newest_copy(self.copies, own, other, max_step)
        self._starts_anew = own is None
        found = [path for path in (own, other) if path is not None]
        return max(found, key=step_of, default=None)

    def finish(self) -> None:
        """Return when the copies are whole."""
        if self.copies is not None:
            self.copies.finish()

    def _newest_copy(
        self, copies: Copies, own: Path | None, other: Path | None, max_step: int
    ) -> Path | None:
        """Return a copy newer than what is here, else ``own``, which the copies may lack."""
        here = max((step_of(path) for path in (own, other) if path is not None), default=0)
        for path in copies.fetch_newer(self.folder, here, max_step):
            if (problem := self._problem(path, max_step, self.fingerprint)) is None:
                return path
            _log.warning("the copy of %s is skipped: %s.", path, problem)
            shutil.rmtree(path)
        if own is not None and own.name not in copies.names():
            copies.send(own)
        return own

    def _newest_own(self, max_step: int) -> Path | None:
        for path in reversed(checkpoints_in(self.folder)):
            if (problem := self._problem(path, max_step, self.fingerprint)) is None:
                return path
            _log.warning("%s is skipped: %s.", path, problem)
        return None

    def _newest_other(self, max_step: int) -> Path | None:
        paths = sorted(
            (path for folder in self.others for path in checkpoints_in(folder)),
            key=step_of,
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
        if self.copies is not None:
            self.copies.send(path)
        return path

    def load(self, path: Path) -> tuple[dict[str, torch.Tensor], Progress]:
        """Return what `save` was given; UserError if it comes from code that wrote other files.

        Args:
            path: the checkpoint's folder, which `find` has returned.
        """
        state = read_state(path)
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
            state = read_state(path)
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
            verify(path)  # last, as it reads all of the weights
        except DamagedCheckpoint as exc:
            return f"it is damaged ({exc})"
        return None

    def _prune(self, newest: Path) -> None:
        """Keep the newest ``total_limit`` up to ``newest``; what lies beyond, this run skipped."""
        paths = checkpoints_in(self.folder)
        kept = paths[: paths.index(newest) + 1][-1 if self._starts_anew else -self.total_limit :]
        for path in set(paths) - set(kept):
            shutil.rmtree(path, ignore_errors=True)
        self._starts_anew = False
        # They are of processes that were killed while they wrote.
        for leftover in self.folder.glob(".checkpoint-*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 24 else text[:12] + "…"
