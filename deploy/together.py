"""The first host and the others, which begin and end together and outlast the loss of one.

The others are connected to the first one as long as they run (`connections.py`). It tells them how
its command ended, and so they end, and it learns from a broken connection that one is gone.
"""

from __future__ import annotations

import select
import socket
import subprocess
import time

from connections import First, Others, connect
from handshake import Meeting, Refused
from processes import POLL_SECONDS, STOPPED, Command, Stop, end_group, exit_code, kill_group, say

_LAST_WORD_SECONDS = 60.0


def lead(
    command: Command, others: Others, port: int, needs_all: bool, patience: float, stop: Stop
) -> int:
    """Run a command on the first host until it ends, again if another host was lost meanwhile.

    A signal, here or on another host, becomes SIGTERM for the command, which then saves and ends.

    Args:
        command: that can be run again, and goes on where it was.
        others: to be told how it ended.
        port: where they connect.
        needs_all: it runs only while all of them are here, as what trains together does; otherwise
            it is run again only if it fails.
        patience: seconds in which one that is gone must be back.
        stop: open, tells of a signal.

    Returns:
        The command's exit code, 1 if the hosts did not meet.
    """
    others.listen(port)
    while True:
        if needs_all and not _wait_for_all(others, stop, patience):
            code = STOPPED if stop.came or others.asks_to_stop else 1
            if code != STOPPED:
                say(f"the {others.meeting.count} hosts did not meet within {patience:g} seconds")
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
        if stop.came or others.asks_to_stop or time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
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
        time.sleep(POLL_SECONDS)
    return exit_code(process.wait())


def follow(
    command: Command, first: First, meeting: Meeting, rank: int, patience: float, stop: Stop
) -> int:
    """Run a command on another host for as long as the first one runs, and end as it ends.

    Args:
        command: that takes part in what the first host does; it is started again if it ends.
        first: the first host, which may come, or come back, later.
        meeting: what all hosts have in common.
        rank: of this host.
        patience: seconds in which the first host must come or be back.
        stop: open, tells of a signal.

    Returns:
        The exit code of the first host's command, 1 if that host did not come or refuses this one.
    """
    try:
        while (connection := connect(first, meeting, rank, patience, stop)) is not None:
            with connection:
                code = _take_part(command, connection, stop)
            if code is not None:
                return code
            say(f"{first.head} is gone; waits for it")
    except Refused as exc:
        say(f"{first} does not take this host: {exc}")
        return 1
    return STOPPED if stop.came else 1


def _take_part(command: Command, connection: socket.socket, stop: Stop) -> int | None:
    """Run the command until the first host ends; return its code, None if it was lost."""
    process = subprocess.Popen(command, start_new_session=True)
    is_told = False
    try:
        while True:
            if select.select([connection], [], [], POLL_SECONDS)[0]:
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
