"""The first host and the others, which begin and end together and outlast the loss of one.

The first one listens on a port; the others are connected to it as long as they run. It tells them
how its command ended, and so they end, and it learns from a broken connection that one is gone.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

Command = Sequence[str]
STOPPED = 128 + signal.SIGTERM
"""Exit code of what SIGTERM ended."""

_POLL_SECONDS = 0.2
_LAST_WORD_SECONDS = 60.0
_PATIENCE_SECONDS = 10.0  # from SIGTERM to SIGKILL, for what has nothing to save


class Stop:
    """While open, SIGTERM and SIGINT make ``came`` true and do nothing else."""

    came = False

    def __enter__(self) -> Stop:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    def _note(self, *_: object) -> None:
        self.came = True


def exit_code(process: subprocess.Popen[bytes]) -> int:
    """Return an ended process's code as a shell does: 128 and the signal that killed it."""
    code = process.wait()
    return 128 - code if code < 0 else code


def say(text: str) -> None:
    """Print a line on what the hosts do."""
    print(f"run.py on {socket.gethostname()}: {text}", file=sys.stderr, flush=True)


@dataclass
class Others:
    """The hosts that are connected to this one, the first.

    Attributes:
        expected: how many there are.
        num_lost: how often one was lost.
        asks_to_stop: whether one got SIGTERM.
    """

    expected: int
    num_lost: int = 0
    asks_to_stop: bool = False
    _connections: dict[int, socket.socket] = field(default_factory=dict)

    def listen(self, port: int) -> None:
        """Take connections on all addresses from now on."""
        server = socket.create_server(("", port))
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()

    def are_here(self) -> bool:
        """Return whether all of them are connected."""
        return len(self._connections) == self.expected

    def tell(self, code: int) -> None:
        """Tell those that are connected how the command ended."""
        for connection in list(self._connections.values()):
            with suppress(OSError):
                connection.sendall(f"exit {code}\n".encode())

    def _accept(self, server: socket.socket) -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        _keep_alive(connection)
        with connection, connection.makefile("r") as lines, suppress(OSError, ValueError):
            rank = int(lines.readline())
            self._connections[rank] = connection
            say(f"host {rank} is here")
            try:
                self.asks_to_stop |= any(line == "stop\n" for line in iter(lines.readline, ""))
            finally:
                if self._connections.get(rank) is connection:
                    del self._connections[rank]
                self.num_lost += 1
                say(f"host {rank} is gone")


def lead(
    command: Command, others: Others, port: int, needs_all: bool, patience: float, stop: Stop
) -> int:
    """Run a command on the first host until it ends, again if another host was lost meanwhile.

    SIGTERM, here or on another host, is handed to the command, which then saves and ends.

    Args:
        command: that can be run again, and goes on where it was.
        others: to be told how it ended.
        port: where they connect.
        needs_all: it runs only while all of them are here, as what trains together does; otherwise
            it is run again only if it fails.
        patience: seconds in which one that is gone must be back.
        stop: open, tells of SIGTERM.

    Returns:
        The command's exit code, 1 if the hosts did not meet.
    """
    others.listen(port)
    while True:
        if needs_all and not _wait_for_all(others, stop, patience):
            say(f"the {others.expected + 1} hosts did not meet within {patience:g} seconds")
            code = STOPPED if stop.came else 1
            break
        before = others.num_lost
        code = _run_once(command, others, stop, needs_all)
        if code == 0 or stop.came or others.asks_to_stop or others.num_lost == before:
            break
        say("runs the command again, which goes on where it was")
    if code == 0:
        # One that was lost at the end would come back to nobody.
        _wait_for_all(others, stop, min(patience, _LAST_WORD_SECONDS))
    others.tell(code)
    return code


def _wait_for_all(others: Others, stop: Stop, patience: float) -> bool:
    end = time.monotonic() + patience
    while not others.are_here():
        if stop.came or time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _run_once(command: Command, others: Others, stop: Stop, needs_all: bool) -> int:
    before = others.num_lost
    process = subprocess.Popen(command, start_new_session=True)
    is_told = False
    while process.poll() is None:
        if (stop.came or others.asks_to_stop) and not is_told:
            process.terminate()
            is_told = True
        if needs_all and not is_told and others.num_lost > before:
            # What waits for a lost host would wait for half an hour.
            kill_group(process)
        time.sleep(_POLL_SECONDS)
    return exit_code(process)


def follow(command: Command, head: str, port: int, rank: int, patience: float, stop: Stop) -> int:
    """Run a command on another host for as long as the first one runs, and end as it ends.

    Args:
        command: that takes part in what the first host does; it is started again if it ends.
        head, port: of the first host, which may come, or come back, later.
        rank: of this host.
        patience: seconds in which the first host must come or be back.
        stop: open, tells of SIGTERM.

    Returns:
        The exit code of the first host's command, 1 if that host did not come.
    """
    while (connection := _connect(head, port, stop, patience)) is not None:
        with connection:
            connection.sendall(f"{rank}\n".encode())
            code = _take_part(command, connection, stop)
        if code is not None:
            return code
        say(f"{head} is gone; waits for it")
    if not stop.came:
        say(f"{head}:{port} did not answer within {patience:g} seconds")
    return STOPPED if stop.came else 1


def _connect(head: str, port: int, stop: Stop, patience: float) -> socket.socket | None:
    end = time.monotonic() + patience
    while not stop.came and time.monotonic() < end:
        try:
            connection = socket.create_connection((head, port), timeout=5)
        except OSError:
            time.sleep(1)
        else:
            _keep_alive(connection)
            return connection
    return None


def _take_part(command: Command, connection: socket.socket, stop: Stop) -> int | None:
    """Run the command until the first host ends; return its code, None if it was lost."""
    process = subprocess.Popen(command, start_new_session=True)
    is_told = False
    try:
        while True:
            if select.select([connection], [], [], _POLL_SECONDS)[0]:
                words = connection.recv(100).split()
                return int(words[1]) if words else None
            if stop.came and not is_told:
                connection.sendall(b"stop\n")
                is_told = True
            if process.poll() is not None:
                time.sleep(1)
                process = subprocess.Popen(command, start_new_session=True)
    except OSError:
        return None
    finally:
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


def _keep_alive(connection: socket.socket) -> None:
    """Notice within half a minute that the other host is gone without a word."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
