"""Waiting for what another process does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

GUARD = 3600.0
"""Seconds after which a test has hung: it tells nothing of how fast a machine must be."""


def wait_for(happened: Callable[[], object], *running: subprocess.Popen, seconds: float = GUARD):
    """Wait until something has happened while commands run, and return it.

    Args:
        happened: returns it, or something false before.
        running: commands that bring it about; if one ends before, it will not happen.
        seconds: after which the test has hung.
    """
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, "it did not happen"
        assert all(process.poll() is None for process in running), "a command ended before"
        time.sleep(0.02)
    return found
