"""The first host and another, as processes of this machine: they end together, outlast a loss."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import together
from waiting import wait_for

DEPLOY = Path(together.__file__).parent
LEAD = """
import sys
from connections import Others
from handshake import Meeting
from processes import Stop
from together import lead
others = Others(Meeting("training", {count}, b"key"))
with Stop() as stop:
    sys.exit(lead(["sh", "-c", sys.argv[2]], others, int(sys.argv[1]), {needs_all}, 20, stop))
"""
FOLLOW = """
import sys
from connections import First
from handshake import Meeting
from processes import Stop
from together import follow
first, meeting = First("localhost", int(sys.argv[1])), Meeting({step!r}, {count}, b"key")
with Stop() as stop:
    sys.exit(follow(["sh", "-c", sys.argv[2]], first, meeting, 1, {patience}, stop))
"""
ENDLESS = "echo $$ >> follower; exec sleep 1000"


@pytest.fixture
def start(tmp_path):
    """Starts either host's process with a shell command; all are killed in the end."""
    with socket.create_server(("localhost", 0)) as server:
        port = str(server.getsockname()[1])
    started = []

    def start_one(code, command, **values):
        values = {"count": 2, "step": "training", **values}
        words = [sys.executable, "-c", code.format(**values), port, command]
        environment = {**os.environ, "PYTHONPATH": str(DEPLOY)}
        started.append(subprocess.Popen(words, cwd=tmp_path, env=environment))
        return started[-1]

    yield start_one
    for process in started:
        process.kill()
        process.wait()


def lines(path):
    return path.read_text().split() if path.exists() else []


def is_gone(pid):
    """Return whether a process is dead, collected by its parent or not."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("code", [0, 3])
def test_the_other_ends_as_the_first_does_and_leaves_nothing(start, tmp_path, code):
    first = start(LEAD, f"while [ ! -s follower ]; do sleep .05; done; exit {code}", needs_all=True)
    other = start(FOLLOW, ENDLESS, patience=20)
    assert first.wait(30) == code
    assert other.wait(30) == code
    [pid] = lines(tmp_path / "follower")
    assert is_gone(pid)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("who", ["first", "other"])
def test_sigterm_on_either_ends_the_first_ones_command_and_both(start, tmp_path, who, sent):
    saves = "trap 'echo saved > saved; exit 143' TERM; touch started; while :; do sleep .05; done"
    both = {"first": start(LEAD, saves, needs_all=True)}
    both["other"] = start(FOLLOW, ENDLESS, patience=20)
    wait_for((tmp_path / "started").exists)
    both[who].send_signal(sent)
    assert [both[name].wait(30) for name in ("first", "other")] == [143, 143]
    assert lines(tmp_path / "saved") == ["saved"]


def test_where_the_other_is_killed_the_command_waits_for_it_and_runs_again(start, tmp_path):
    command = "echo $$ >> first; [ -e back ] && exit 0; exec sleep 1000"
    first = start(LEAD, command, needs_all=True)
    other = start(FOLLOW, ENDLESS, patience=20)
    [before] = wait_for(lambda: lines(tmp_path / "first"))
    other.kill()
    wait_for(lambda: is_gone(before))
    (tmp_path / "back").touch()
    other = start(FOLLOW, ENDLESS, patience=20)
    assert (first.wait(30), other.wait(30)) == (0, 0)
    assert len(lines(tmp_path / "first")) == 2


def test_what_needs_not_all_goes_on_without_the_one_that_is_killed(start, tmp_path):
    command = "echo $$ >> first; while [ ! -e end ]; do sleep .05; done"
    first = start(LEAD, command, needs_all=False)
    other = start(FOLLOW, ENDLESS, patience=20)
    wait_for(lambda: lines(tmp_path / "follower"))
    other.kill()
    other = start(FOLLOW, ENDLESS, patience=20)
    wait_for(lambda: len(lines(tmp_path / "follower")) == 2)
    (tmp_path / "end").touch()
    assert (first.wait(30), other.wait(30)) == (0, 0)
    assert len(lines(tmp_path / "first")) == 1


def test_where_the_first_is_killed_the_other_waits_for_it_and_begins_anew(start, tmp_path):
    first = start(LEAD, "exec sleep 1000", needs_all=True)
    other = start(FOLLOW, ENDLESS, patience=20)
    [before] = wait_for(lambda: lines(tmp_path / "follower"))
    first.kill()
    wait_for(lambda: is_gone(before))
    first = start(LEAD, "exit 0", needs_all=True)
    assert (first.wait(30), other.wait(30)) == (0, 0)


def test_a_first_host_that_never_comes_is_told(start, capfd):
    assert start(FOLLOW, ENDLESS, patience=0.1).wait(30) == 1
    assert "did not answer within 0.1 seconds" in capfd.readouterr().err


def test_a_host_that_is_asked_to_stop_before_all_are_there_ends_the_waiting(start, tmp_path):
    """Else the first host would wait for the third one, to start what is to be stopped."""
    first = start(LEAD, "touch started", needs_all=True, count=3)
    other = start(FOLLOW, ENDLESS, patience=20, count=3)
    wait_for(lambda: lines(tmp_path / "follower"))
    other.send_signal(signal.SIGTERM)
    assert (first.wait(15), other.wait(15)) == (143, 143)
    assert not (tmp_path / "started").exists()


def test_a_host_of_another_step_ends_at_once_and_the_first_one_waits_on(start, tmp_path, capfd):
    first = start(LEAD, "exit 0", needs_all=True)
    assert start(FOLLOW, ENDLESS, patience=20, step="validation").wait(15) == 1
    assert "the first host runs `training`: start all of them with one" in capfd.readouterr().err
    assert first.poll() is None
    assert start(FOLLOW, ENDLESS, patience=20).wait(15) == first.wait(15) == 0
