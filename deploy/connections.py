"""The connections between the first host and the others.

Each other host is connected to a port of the first one as long as it runs, once it has shown that
it belongs to its step (`handshake.py`).
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from handshake import Meeting, Refused
from processes import POLL_SECONDS, Stop, say


@dataclass
class Others:
    """The hosts that are connected to this one, the first.

    Attributes:
        meeting: what they have in common with it.
        num_lost: how often one was lost.
        asks_to_stop: whether one got a signal that ends a step.
    """

    meeting: Meeting
    num_lost: int = 0
    asks_to_stop: bool = False
    _connections: dict[int, socket.socket] = field(default_factory=dict)

    def listen(self, port: int) -> None:
        """Take connections on all addresses from now on.

        Raises:
            SystemExit: something else listens on the port.
        """
        server = open_port(port)
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()

    def are_here(self) -> bool:
        """Return whether all of them are connected."""
        return len(self._connections) == self.meeting.count - 1

    def tell(self, code: int) -> None:
        """Tell those that are connected how the command ended."""
        for connection in list(self._connections.values()):
            with suppress(OSError):
                connection.sendall(f"exit {code}\n".encode())

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                connection, (address, *_) = server.accept()
            except OSError:  # it went away again, or there are no more descriptors for now
                time.sleep(POLL_SECONDS)
                continue
            threading.Thread(target=self._hear, args=(connection, address), daemon=True).start()

    def _hear(self, connection: socket.socket, address: str) -> None:
        with connection, suppress(OSError):
            _keep_alive(connection)
            try:
                rank = self.meeting.admit(connection)
            except Refused as exc:
                say(f"refuses {address}: {exc}")
                return
            self._listen_to(connection, rank)

    def _listen_to(self, connection: socket.socket, rank: int) -> None:
        """Keep a host among the others until it is gone."""
        before = self._connections.get(rank)
        self._connections[rank] = connection
        if before is not None:  # it was started again before its end was noticed
            with suppress(OSError):
                before.shutdown(socket.SHUT_RDWR)
        say(f"host {rank} is here")
        try:
            with connection.makefile("r") as lines:
                self.asks_to_stop |= any(line == "stop\n" for line in iter(lines.readline, ""))
        finally:
            if self._connections.get(rank) is connection:
                del self._connections[rank]
            self.num_lost += 1
            say(f"host {rank} is gone")


def open_port(port: int) -> socket.socket:
    """Return a socket that listens on a port of all addresses.

    Raises:
        SystemExit: something else does.
    """
    try:
        return socket.create_server(("", port))
    except OSError as exc:
        raise SystemExit(
            f"port {port} of {socket.gethostname()}: {os.strerror(exc.errno or 0)}; end what has"
            " it, or let DCR_PORT name another on all hosts"
        ) from exc


@dataclass(frozen=True)
class First:
    """Where the first host listens: its name or address, and the port."""

    head: str
    port: int

    def __str__(self) -> str:
        return f"{self.head}:{self.port}"


def connect(
    first: First, meeting: Meeting, rank: int, patience: float, stop: Stop
) -> socket.socket | None:
    """Return a connection to the first host, which has taken this one; None if it did not come.

    Args:
        first, meeting, rank, patience, stop: as `follow` of `together.py` takes them.

    Raises:
        Refused: it is there and does not take this host.
    """
    end = time.monotonic() + patience
    reason = "nothing was tried"
    while not stop.came and time.monotonic() < end:
        try:
            connection = socket.create_connection((first.head, first.port), timeout=5)
            try:
                _keep_alive(connection)
                meeting.introduce(connection, rank)
            except BaseException:
                connection.close()
                raise
        except (OSError, UnicodeError) as exc:  # the latter of a name that can be none
            reason = getattr(exc, "strerror", None) or str(exc)
            time.sleep(1)
        else:
            return connection
    if not stop.came:
        say(f"{first} did not answer within {patience:g} seconds ({reason})")
    return None


def _keep_alive(connection: socket.socket) -> None:
    """Notice within half a minute that the other host is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # The last one, in milliseconds, is for words that are under way when it goes.
    options = {"KEEPIDLE": 10, "KEEPINTVL": 5, "KEEPCNT": 4, "USER_TIMEOUT": 30_000}
    for option, value in options.items():
        if hasattr(socket, f"TCP_{option}"):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_{option}"), value)
