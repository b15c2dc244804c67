"""Waiting for what another process does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable


def wait_for(happened: Callable[[], object], *running: subprocess.Popen, seconds: float = 300):
    """Wait until something has happened while commands run, and return it."""
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, "it did not happen"
        assert all(process.poll() is None for process in running), "a command ended before"
        time.sleep(0.02)
    return found
