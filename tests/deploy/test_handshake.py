"""The first host's port takes the other hosts of its step, and nobody else."""

import json
import os
import socket
import stat
import threading
from dataclasses import replace

import pytest

from handshake import Meeting, Refused, read_key

MEETING = Meeting("training --env mine", 3, b"the key")
OTHER_STEP = replace(MEETING, command="latents --env mine")
OTHER_RECIPE = replace(MEETING, command="training --env other")
OTHER_KEY = replace(MEETING, key=b"another")


@pytest.fixture
def ends():
    """The two ends of a connection."""
    first, other = socket.socketpair()
    with first, other:
        yield first, other


@pytest.fixture
def admitted(ends):
    """Return a function that lets the first host admit whoever is at the other end."""
    found = []

    def admit():
        try:
            found.append(MEETING.admit(ends[0]))
        except (Refused, OSError) as exc:
            found.append(exc)
            ends[0].close()

    thread = threading.Thread(target=admit)
    thread.start()

    def result():
        thread.join()
        return found[0]

    yield result
    ends[1].close()
    thread.join()


@pytest.mark.parametrize("rank", [1, 2])
def test_hosts_of_the_same_step_take_each_other(ends, admitted, rank):
    MEETING.introduce(ends[1], rank)
    assert admitted() == rank
    assert [end.gettimeout() for end in ends] == [None, None]


@pytest.mark.parametrize(
    ("other", "rank", "reason"),
    [
        (OTHER_KEY, 1, "do all hosts see the same data/"),
        (OTHER_STEP, 1, "the first host runs `training --env mine`"),
        (OTHER_RECIPE, 1, "the first host runs `training --env mine`"),
        (MEETING, 0, "rank 0 is none of the other hosts of 3"),
        (MEETING, 3, "rank 3 is none of the other hosts of 3"),
        (MEETING, -1, "rank -1 is none of the other hosts of 3"),
    ],
)
def test_any_other_is_refused_and_both_sides_say_why(ends, admitted, other, rank, reason):
    with pytest.raises(Refused, match=reason):
        other.introduce(ends[1], rank)
    assert isinstance(admitted(), Refused)
    assert reason in str(admitted())


@pytest.mark.parametrize(
    "line",
    [
        b"1\n",
        b"stop\n",
        b"{}\n",
        b'{"rank": 1, "command": "training --env mine", "proof": "\xc3\xa9"}\n',
        b"\xff\xfe\n",
        b"[" * 50_000 + b"\n",
        b"x" * 70_000,
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_whatever_else_connects_is_refused(ends, admitted, line):
    ends[1].sendall(line)
    assert isinstance(admitted(), Refused)


def test_a_proof_that_was_overheard_is_worth_nothing(ends, admitted):
    """The key is proved over what the first host has drawn, which is another one each time."""
    overheard = []

    class Recorder:
        def __getattr__(self, name):
            return getattr(ends[1], name)

        def sendall(self, data):
            overheard.append(data)
            ends[1].sendall(data)

    MEETING.introduce(Recorder(), 1)
    assert admitted() == 1
    first, other = socket.socketpair()
    with first, other:
        other.sendall(overheard[0])
        with pytest.raises(Refused):
            MEETING.admit(first)
        assert MEETING.key not in overheard[0]


def test_one_who_says_nothing_is_not_waited_for_for_long(ends, monkeypatch):
    monkeypatch.setattr("handshake._PATIENCE_SECONDS", 0.05)
    with pytest.raises(TimeoutError):
        MEETING.admit(ends[0])


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([{"challenge": "1"}, {"proof": "1"}], "does not have the key"),
        ([{"challenge": "1"}, {}], "does not have the key"),
        ([[]], "no line of these hosts"),
    ],
)
def test_what_stands_in_for_the_first_host_is_refused(ends, answers, reason):
    """A host would end, or go on, as it says."""
    ends[0].sendall(b"".join(json.dumps(answer).encode() + b"\n" for answer in answers))
    with pytest.raises(Refused, match=reason):
        MEETING.introduce(ends[1], 1)


def test_the_key_is_drawn_once_and_its_owners_alone(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(read_key(tmp_path / "data"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*found}) == 1
    assert len(found[0]) == 64
    assert stat.S_IMODE(os.stat(tmp_path / "data/hosts.key").st_mode) == 0o600
    assert read_key(tmp_path / "elsewhere") != found[0]


def test_a_key_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "hosts.key").symlink_to("/etc/hostname")
    with pytest.raises(SystemExit, match=r"hosts\.key: .*as the user whose it is"):
        read_key(tmp_path)
