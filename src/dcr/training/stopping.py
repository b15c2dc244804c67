"""SIGTERM and SIGHUP as a request: the step is finished and saved before the process ends."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from dcr.errors import UserError

JOB = "job"
"""Folder beside the runs' checkpoints: the workers' configuration, and how each that failed did."""

STOP_FILE = "stop"
"""Name of the file by which a node asks its workers to stop."""


class Stopped(UserError):
    """Training was asked to end and has saved its state; the same command goes on from there."""

    exit_code = 128 + signal.SIGTERM


class StopRequest:
    """While open, SIGTERM and SIGHUP make ``requested`` true and do nothing else.

    A scheduler sends the one, a terminal that is closed the other; where SIGHUP is ignored, as
    under ``nohup``, it stays so. Signals reach the main thread alone, so elsewhere (a threaded
    runner) both keep their usual effect.

    Args:
        file: that asks for the same by being there.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._came = False
        self._previous: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether this process should save and end."""
        return self._came or (self._file is not None and self._file.exists())

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._note)
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                self._previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._came = True


def ignore_requests(worker: int) -> None:
    """Leave SIGTERM and SIGHUP to the trainer, which needs its batches to the last.

    All processes of a job may be sent them.

    Args:
        worker: number of the loader process that calls this first.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
