"""How a host that comes to the first one's port proves that it belongs to the same step.

Whoever reaches the port can connect. The hosts of a project share its data/, and in it a key that
its owner alone may read: each side proves that it has the key, by an HMAC of what the other has
just drawn, so that the key itself never goes over the network.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 10.0  # for each line
_MAX_LINE = 65536  # a command line, and little more
_NO_LINE = "what it says is no line of these hosts"


class Refused(Exception):
    """The other side is none of the step's hosts; the message says why, in one sentence."""


def read_key(data: Path) -> bytes:
    """Return the key that a project's hosts share, drawn by the first one that asks for it.

    Args:
        data: folder that all of them see.

    Raises:
        SystemExit: the key cannot be read, as where it is another user's.
    """
    path = data / "hosts.key"
    try:
        data.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            key = file.read()
            if not key:
                key = secrets.token_hex(32)
                file.write(key)
    except OSError as exc:
        raise SystemExit(
            f"{path}: {exc.strerror}; hosts show each other that they have this key, so all of them"
            " must run as the user whose it is"
        ) from exc
    return key.encode()


@dataclass(frozen=True)
class Meeting:
    """What the hosts of one step have in common.

    Attributes:
        command: step, recipe and parameters, as the command line has them.
        count: number of hosts.
        key: of `read_key`.
    """

    command: str
    count: int
    key: bytes

    def admit(self, connection: socket.socket) -> int:
        """Return the rank of the host that has connected to the first one.

        Args:
            connection: just accepted.

        Raises:
            Refused: it has another key, another command or no rank of another host, or says
                nothing; where it is one of the project's, it has been told.
            OSError: it is gone.
        """
        drawn = secrets.token_hex(32)
        _send(connection, challenge=drawn)
        said = _receive(connection)
        words = [drawn, str(said.get("rank")), str(said.get("command"))]
        problem = ""
        if not self._is_proof(said.get("proof"), *words):
            problem = "the key in data/ is another one: do all hosts see the same data/?"
        elif said.get("command") != self.command:
            problem = f"the first host runs `{self.command}`: start all of them with one command"
        elif said.get("rank") not in range(1, self.count):
            problem = f"rank {said.get('rank')} is none of the other hosts of {self.count}"
        if problem:
            _send(connection, refused=problem)
            raise Refused(problem)
        _send(connection, proof=self._prove("first", str(said.get("challenge"))))
        connection.settimeout(None)
        return int(said["rank"])

    def introduce(self, connection: socket.socket, rank: int) -> None:
        """Show the first host that this one belongs to the step, and have it show the same.

        Args:
            connection: to what should be the first host.
            rank: of this one.

        Raises:
            Refused: it does not take this host, or is none of the project's.
            OSError: it is gone.
        """
        challenge = str(_receive(connection).get("challenge"))
        drawn = secrets.token_hex(32)
        proof = self._prove(challenge, str(rank), self.command)
        _send(connection, rank=rank, command=self.command, challenge=drawn, proof=proof)
        said = _receive(connection)
        if "refused" in said:
            raise Refused(str(said["refused"]))
        if not self._is_proof(said.get("proof"), "first", drawn):
            raise Refused("what answers there does not have the key in data/")
        connection.settimeout(None)

    def _prove(self, *words: str) -> str:
        return hmac.new(self.key, json.dumps(words).encode(), "sha256").hexdigest()

    def _is_proof(self, said: Any, *words: str) -> bool:
        return hmac.compare_digest(str(said).encode(), self._prove(*words).encode())


def _send(connection: socket.socket, **values: Any) -> None:
    connection.sendall(json.dumps(values).encode() + b"\n")


def _receive(connection: socket.socket) -> dict[str, Any]:
    """Return the other side's line, read byte by byte so that nothing behind it is taken."""
    end = time.monotonic() + _PATIENCE_SECONDS
    line = bytearray()
    while not line.endswith(b"\n"):
        connection.settimeout(max(0.001, end - time.monotonic()))
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError("it has hung up")
        line += byte
        if len(line) > _MAX_LINE:
            raise Refused(_NO_LINE)
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise Refused(_NO_LINE) from exc
    if not isinstance(said, dict):
        raise Refused(_NO_LINE)
    return said
