"""A rank that dies ends the run with its own sentence, whatever the others are waiting for."""

import os
import signal
import sys
import time

import psutil
import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from dcr.errors import UserError
from dcr.training import jobs
from dcr.training.distributed.agent import first_to_fail
from training_cuts import once
from training_world import open_job, write_world


def failures(**codes):
    """Return what torch.distributed.run raises of ranks that it found at once, by exit code."""
    found = {
        int(name[1:]): ProcessFailure(int(name[1:]), 1, code, "") for name, code in codes.items()
    }
    for failure in found.values():
        failure.timestamp = 100
    return ChildFailedError("worker", found)


class TestWhoFailedFirst:
    def test_of_two_at_once_it_is_the_one_that_was_killed(self):
        """The other says that its peer has closed the connection."""
        assert first_to_fail(failures(r0=1, r1=-signal.SIGKILL)) == (1, -signal.SIGKILL)

    def test_those_that_were_ended_for_it_have_not_failed(self):
        assert first_to_fail(failures(r0=-signal.SIGTERM, r1=1)) == (1, 1)

    def test_one_that_had_to_be_killed_later_has_not_failed_first(self):
        error = failures(r0=-signal.SIGKILL, r1=1)
        error.failures[0].timestamp += 30
        assert first_to_fail(error) == (1, 1)


class TestAKilledRank:
    """Real workers, as the node starts them, and a real kill."""

    @pytest.fixture(scope="class")
    def world(self, tmp_path_factory):
        return write_world(tmp_path_factory.mktemp("world"))

    @pytest.fixture(autouse=True)
    def sources(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def train_until(self, kill, world, folder):
        """Train without end until ``kill`` acts on the two workers.

        Return the seconds from then to the node's sentence, and the sentence.
        """
        acted = []

        def act():
            found = workers()
            kill(*found)
            acted.append((time.monotonic(), found))

        endless = {"processes.num_processes": 2, "stage1.max_train_steps": 100_000}
        with once(folder / "stage1", act), pytest.raises(UserError) as told:
            jobs.train_projector(open_job(world, folder, **endless))
        [(started, found)] = acted
        assert not any(worker.is_running() for worker in found)
        return time.monotonic() - started, str(told.value)

    def test_it_is_named_within_a_minute(self, world, tmp_path):
        seconds, sentence = self.train_until(lambda _, second: second.kill(), world, tmp_path)
        assert sentence == "rank 1 was killed by signal 9: has memory run out?"
        assert seconds < 60

    @pytest.mark.slow
    def test_so_it_is_where_the_other_hears_no_signal(self, world, tmp_path):
        """As one that waits for its peer within a kernel: SIGTERM does not end it."""

        def kill(first, second):
            first.suspend()
            second.kill()

        seconds, sentence = self.train_until(kill, world, tmp_path)
        assert sentence == "rank 1 was killed by signal 9: has memory run out?"
        assert seconds < 60


def workers():
    """Return the two workers among this process's children, in the order of their ranks."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        if process.cmdline()[1:4] == ["-u", "-m", "dcr.training.distributed.worker"]:
            found[process.environ()["RANK"]] = process
    return [found[rank] for rank in sorted(found)]
