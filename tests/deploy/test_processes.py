"""Commands of a host are told of what ends them, and leave nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import processes
from processes import Stop
from waiting import wait_for

DEPLOY = Path(processes.__file__).parent
RUN = """
import sys
from processes import Stop, run_all
with Stop() as stop:
    sys.exit(run_all([["sh", "-c", sys.argv[1], str(i)] for i in range(2)], stop))
"""
HANGS_UP = """
import signal
from processes import Stop
with Stop() as stop:
    signal.raise_signal(signal.SIGHUP)
    print(stop.came)
"""
SAVES = "trap 'echo saved >> saved; exit 143' TERM; touch started-$0; while :; do sleep .05; done"


@pytest.fixture
def start(tmp_path):
    """Starts two of a shell command by `run_all`; whatever is left is killed in the end."""
    started = []

    def start_two(command):
        words = [sys.executable, "-c", RUN, command]
        environment = {**os.environ, "PYTHONPATH": str(DEPLOY)}
        options = {"cwd": tmp_path, "env": environment, "start_new_session": True}
        started.append(subprocess.Popen(words, **options))
        wait_for(lambda: len(list(tmp_path.glob("started-*"))) == 2, started[0])
        return started[0]

    yield start_two
    for process in started:
        processes.kill_group(process)
        process.wait()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_asks_it_to_end_is_handed_on_to_each_which_saves(start, tmp_path, sent):
    process = start(SAVES)
    process.send_signal(sent)
    assert process.wait(15) == 143
    assert (tmp_path / "saved").read_text().split() == ["saved", "saved"]


def test_a_terminal_that_is_closed_is_nothing_to_what_runs_under_nohup():
    environment = {**os.environ, "PYTHONPATH": str(DEPLOY)}
    words = ["nohup", sys.executable, "-c", HANGS_UP]
    told = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_handlers_are_those_of_before_once_it_is_closed():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with Stop():
        pass
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_process_that_fails_leaves_the_others_to_end(tmp_path):
    failed = f"kill -0 $(cat {tmp_path}/failing) 2>/dev/null"
    ends = f"while {failed}; do sleep .05; done; touch {tmp_path}/ended"
    commands = [
        ["sh", "-c", f"echo $$ > {tmp_path}/failing; exit 3"],
        ["sh", "-c", f"while [ ! -s {tmp_path}/failing ]; do sleep .05; done; {ends}"],
    ]
    with Stop() as stop:
        assert processes.run_all(commands, stop) == 3
    assert (tmp_path / "ended").exists()
