"""Work that takes too long or too much ends, whatever it is busy with; other work is left alone."""

import subprocess
import sys
import threading
import time

import pytest

from dcr.validation import watchdog
from dcr.validation.watchdog import GivenUp, watched


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(watchdog, "_LEAST_SECONDS", 0.1)
    monkeypatch.setattr(watchdog, "_TICK", 0.02)


def test_what_computes_too_long_is_ended_though_it_swallows_every_exception():
    def swallow():
        while True:
            try:
                sum(range(1000))
            except Exception:
                continue

    with pytest.raises(GivenUp, match="more than 0 seconds of computing"), watched(1, 0.1, 4):
        swallow()


def test_megabytes_earn_time():
    with watched(1000, 1, 4):
        start = time.thread_time()
        while time.thread_time() - start < 0.3:
            pass


def test_waiting_costs_nothing():
    with watched(0, 1, 4) as look:
        threading.Event().wait(0.3)
        look()


_GROWS = """
import os

from dcr.validation.watchdog import GivenUp, watched

kept = []
try:
    with watched(1000, 1, 0.05):
        while True:
            kept.append(os.urandom(100_000))  # slow enough for little to grow between two looks
except GivenUp as error:
    print(len(kept) < 5_000, error)
"""


def test_what_grows_too_much_is_ended():
    """In a process of its own: what this one has freed would be taken again, and nothing grow."""
    done = subprocess.run(
        [sys.executable, "-c", _GROWS], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("True "), done.stderr
    assert "more than 0.05 GB of memory" in done.stdout


def test_other_threads_are_watched_by_looking():
    caught = []

    def work():
        try:
            with watched(0, 1, 4) as look:
                while True:
                    look()
        except GivenUp as exc:
            caught.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert len(caught) == 1


def test_no_timer_is_left():
    import signal

    with watched(1, 1, 4):
        assert signal.getitimer(signal.ITIMER_PROF)[0] > 0
    assert signal.getitimer(signal.ITIMER_PROF) == signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
    assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL


def test_the_kernel_ends_a_worker_that_never_comes_back_to_python():
    code = (
        "import multiprocessing; multiprocessing.parent_process = lambda: True\n"
        "from dcr.validation import watchdog\n"
        "watchdog._LEAST_SECONDS = watchdog._KILL_SECONDS = 0.1\n"
        "with watchdog.watched(0, 1, 4): pow(3, 10**8)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -26  # SIGVTALRM
