"""The commands that a host runs: started together, told of signals, ended with all they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

Command = Sequence[str]
STOPPED = 128 + signal.SIGTERM
"""Exit code of what a signal ended."""

POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 10.0  # from SIGTERM to SIGKILL, for what has nothing to save


class Stop:
    """While open, SIGTERM, SIGINT and SIGHUP make ``came`` true and do nothing else.

    SIGINT and SIGHUP stay ignored where they are, as under ``nohup``.
    """

    came = False

    def __enter__(self) -> Stop:
        self._before = {
            number: found
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            if (found := signal.getsignal(number)) is not signal.SIG_IGN or number == signal.SIGTERM
        }
        for number in self._before:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, *_: object) -> None:
        self.came = True


def say(text: str) -> None:
    """Print a line on what the hosts do."""
    print(f"run.py on {socket.gethostname()}: {text}", file=sys.stderr, flush=True)


def run_all(
    commands: list[Command], stop: Stop, environments: list[dict[str, str]] | None = None
) -> int:
    """Run commands at the same time, to their ends; a signal becomes SIGTERM for each.

    Args:
        commands: to run.
        stop: open, tells of a signal.
        environments: variables of each, beside those of this process.

    Returns:
        The first exit code that is not 0.
    """
    more: list[dict[str, str]] = environments or [{} for _ in commands]
    started = [
        subprocess.Popen(command, env={**os.environ, **own})
        for command, own in zip(commands, more, strict=True)
    ]
    is_told = False
    while any(process.poll() is None for process in started):
        if stop.came and not is_told:
            is_told = True
            for process in started:
                process.terminate()
        time.sleep(POLL_SECONDS)
    return next((code for code in map(exit_code, [one.wait() for one in started]) if code), 0)


def exit_code(code: int) -> int:
    """Return a process's code as a shell does: for what a signal has killed, 128 and its number."""
    return 128 - code if code < 0 else code


@contextmanager
def kept_running(commands: list[Command]) -> Iterator[None]:
    """Run commands while open."""
    started = [subprocess.Popen(command, start_new_session=True) for command in commands]
    try:
        yield
    finally:
        for process in reversed(started):
            end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started in a session of its own, and those that it started."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE_SECONDS)
    kill_group(process)
    process.wait()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that was started in a session of its own, with those that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
