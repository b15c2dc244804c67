"""Copies of a run's checkpoints at a URL: made while training goes on, fetched where none is here.

They lie in ``<url>/<run>-<hash of its fingerprint>/checkpoint-<step>/``, so that no run takes or
removes another one's. ``SHA256SUMS`` comes last: without it a copy is not whole.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from dcr.data.remote import Folder, redact
from dcr.errors import UserError
from dcr.files import atomic_folder
from dcr.fingerprints import json_hash
from dcr.replacing import temporary_path
from dcr.training.checkpoint_files import NAME, STATE, SUMS, TENSORS, step_of

_FILES = (TENSORS, STATE, SUMS)  # in the order in which they are written
_SENDING = "sending"
_log = logging.getLogger(__name__)


class Copies:
    """The copies of one run's checkpoints.

    Args:
        url: of a folder that fsspec writes to, local or remote, for any number of runs.
        run: its name.
        fingerprint: of the run.
        total_limit: how many are kept, the newest.

    Raises:
        UserError: the URL holds a secret, or nothing can be written to such URLs.
    """

    def __init__(self, url: str, run: str, fingerprint: dict[str, Any], total_limit: int) -> None:
        self.folder = Folder(url, "training.checkpoints.sync")
        self.name = f"{run}-{json_hash(fingerprint)[:12]}"
        self.total_limit = total_limit
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: tuple[Future[None], Path] | None = None
        self._newest: Path | None = None  # that was to be copied
        self._copied: Path | None = None  # the last that was; the copying thread alone sets it

    def send(self, checkpoint: Path) -> None:
        """Begin to copy a whole checkpoint, and return.

        One is copied at a time; of those that wait meanwhile, the newest is. What cannot be copied
        is warned of, as the checkpoint itself is there, and a newer one or `finish` tries again.
        """
        if self._waiting is not None and self._waiting[0].cancel():
            shutil.rmtree(self._waiting[1], ignore_errors=True)
        self._newest = checkpoint
        snapshot = temporary_path(checkpoint.parent, _SENDING)
        try:
            _link(checkpoint, snapshot)
        except OSError as exc:
            self._warn(checkpoint.name, exc)
            shutil.rmtree(snapshot, ignore_errors=True)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "checkpoint-copies")
        self._waiting = self._pool.submit(self._copy, snapshot, checkpoint), snapshot

    def finish(self) -> None:
        """Return when nothing is being copied any more.

        If the newest checkpoint has no copy then, it is tried once more, and told.
        """
        self.wait()
        if self._newest is None or self._newest == self._copied:
            return
        self.send(self._newest)
        self.wait()
        if self._newest != self._copied:
            _log.warning(
                "%s has no copy in %s; it is here, and the next run copies it.",
                self._newest,
                self.folder,
            )
        self._newest = None  # and is told once

    def wait(self) -> None:
        """Return when what is being copied is copied or has failed."""
        if self._waiting is not None:
            wait([self._waiting[0]])
            self._waiting = None

    def names(self) -> list[str]:
        """Return the names of all whole copies, by ascending step.

        Raises:
            UserError: they cannot be listed.
        """
        found = [name for name in self.folder.names(self.name) if NAME.fullmatch(name)]
        whole = [name for name in found if SUMS in self.folder.names(f"{self.name}/{name}")]
        return sorted(whole, key=step_of)

    def fetch_newer(self, target: Path, than: int, max_step: int) -> Iterator[Path]:
        """Fetch copies, the newest first, each when it is asked for.

        Args:
            target: the folder that the checkpoint comes to lie in.
            than: a step; only copies beyond it are fetched.
            max_step: only copies up to it are.

        Raises:
            UserError: they cannot be listed or read.
        """
        for leftover in target.glob(f".{_SENDING}.*"):  # of killed processes, other hosts' too
            shutil.rmtree(leftover, ignore_errors=True)
        for name in reversed(self.names()):
            if than < step_of(name) <= max_step:
                with atomic_folder(target / name) as folder:
                    for file in _FILES:
                        self.folder.fetch(f"{self.name}/{name}/{file}", folder / file)
                _log.info("%s is fetched from %s.", target / name, self.folder)
                yield target / name

    def _copy(self, snapshot: Path, checkpoint: Path) -> None:
        name = checkpoint.name
        try:
            for file in _FILES:
                self.folder.send(snapshot / file, f"{self.name}/{name}/{file}")
            self._copied = checkpoint
            self._prune(step_of(name))
        except Exception as exc:
            self._warn(name, exc)
        finally:
            shutil.rmtree(snapshot, ignore_errors=True)

    def _warn(self, name: str, exc: Exception) -> None:
        reason = exc if isinstance(exc, UserError) else redact(f"{type(exc).__name__}: {exc}")
        _log.warning("%s is not copied to %s: %s", name, self.folder, reason)

    def _prune(self, newest: int) -> None:
        """Keep the newest whole copies up to ``newest``; remove halves that kills have left."""
        found = [name for name in self.folder.names(self.name) if NAME.fullmatch(name)]
        kept = [name for name in self.names() if step_of(name) <= newest][-self.total_limit :]
        for name in found:
            if step_of(name) <= newest and name not in kept:
                self.folder.remove(f"{self.name}/{name}/{SUMS}")  # without them it is none
                self.folder.remove(f"{self.name}/{name}")


def _link(checkpoint: Path, snapshot: Path) -> None:
    """Make a folder of the same files, which stay when the checkpoint is removed."""
    snapshot.mkdir()
    for file in _FILES:
        try:
            os.link(checkpoint / file, snapshot / file)
        except OSError:  # a file system without links
            shutil.copyfile(checkpoint / file, snapshot / file)
