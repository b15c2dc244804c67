"""The first host and another, as processes of this machine: they end together, outlast a loss."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import together

DEPLOY = Path(together.__file__).parent
LEAD = """
import sys
from together import Others, Stop, lead
with Stop() as stop:
    sys.exit(lead(["sh", "-c", sys.argv[2]], Others(1), int(sys.argv[1]), {needs_all}, 20, stop))
"""
FOLLOW = """
import sys
from together import Stop, follow
with Stop() as stop:
    sys.exit(follow(["sh", "-c", sys.argv[2]], "localhost", int(sys.argv[1]), 1, {patience}, stop))
"""
ENDLESS = "echo $$ >> follower; exec sleep 1000"


@pytest.fixture
def start(tmp_path):
    """Starts either host's process with a shell command; all are killed in the end."""
    with socket.create_server(("localhost", 0)) as server:
        port = str(server.getsockname()[1])
    started = []

    def start_one(code, command, **values):
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


def wait_for(happened):
    end = time.monotonic() + 20
    while not (found := happened()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


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


@pytest.mark.parametrize("who", ["first", "other"])
def test_sigterm_on_either_ends_the_first_ones_command_and_both(start, tmp_path, who):
    saves = "trap 'echo saved > saved; exit 143' TERM; touch started; while :; do sleep .05; done"
    both = {"first": start(LEAD, saves, needs_all=True)}
    both["other"] = start(FOLLOW, ENDLESS, patience=20)
    wait_for((tmp_path / "started").exists)
    both[who].send_signal(signal.SIGTERM)
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
