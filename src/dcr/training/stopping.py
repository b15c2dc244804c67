"""SIGTERM as a request: the step is finished and saved before the process ends."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

from dcr.errors import UserError

JOB = "job"
"""Folder beside the runs' checkpoints: the workers' configuration, and how each that failed did."""

STOP_FILE = "stop"
"""Name of the file by which a node asks its workers to stop."""


class Stopped(UserError):
    """Training was asked to end and has saved its state; the same command goes on from there."""

    exit_code = 128 + signal.SIGTERM


class StopRequest:
    """While open, SIGTERM makes ``requested`` true and does nothing else.

    Signals reach the main thread alone, so elsewhere (a threaded runner) SIGTERM keeps its usual
    effect.

    Args:
        file: that asks for the same by being there.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._came = False

    @property
    def requested(self) -> bool:
        """Whether this process should save and end."""
        return self._came or (self._file is not None and self._file.exists())

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._previous)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._came = True
