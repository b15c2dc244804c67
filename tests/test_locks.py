"""Two runs over the same folders: the second is refused; what died holds nothing."""

import os
import signal
import subprocess
import sys

import pytest

from dcr import locks
from dcr.errors import UserError

HOLD = """
import sys
from pathlib import Path
from dcr.locks import lock
lock(Path(sys.argv[1]), shared=sys.argv[2] == "shared")
print("held", flush=True)
sys.stdin.read()
"""


class Holder:
    """Another process that holds a folder."""

    def __init__(self, folder, how):
        command = [sys.executable, "-c", HOLD, str(folder), how]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "held\n"

    def end(self, signal_number=None):
        self.process.send_signal(signal_number) if signal_number else self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(autouse=True)
def nothing_held():
    yield
    locks.release_all()


@pytest.mark.parametrize(
    ("theirs", "mine", "goes"),
    [
        ("alone", False, False),
        ("alone", True, False),
        ("shared", False, False),
        ("shared", True, True),
    ],
)
def test_who_goes_with_whom(tmp_path, theirs, mine, goes):
    holder = Holder(tmp_path, theirs)
    if goes:
        locks.lock(tmp_path, shared=mine)
    else:
        with pytest.raises(UserError, match=r"is in use by another run.*: wait until it has ended"):
            locks.lock(tmp_path, shared=mine)
    holder.end()
    locks.release_all()
    locks.lock(tmp_path, shared=False)


def test_a_killed_holder_holds_nothing_and_is_not_named(tmp_path):
    holder = Holder(tmp_path, "alone")
    with pytest.raises(UserError, match=f"another run .process {holder.process.pid} on "):
        locks.lock(tmp_path, shared=False)
    locks.release_all()
    holder.end(signal.SIGKILL)
    reader = Holder(tmp_path, "shared")
    with pytest.raises(UserError, match="another run: wait"):
        locks.lock(tmp_path, shared=False)
    reader.end()
    locks.release_all()
    locks.lock(tmp_path, shared=False)


def test_a_run_that_has_ended_leaves_an_empty_file(tmp_path):
    locks.lock(tmp_path, shared=False)
    assert (tmp_path / locks.LOCK).read_bytes()
    locks.release_all()
    assert (tmp_path / locks.LOCK).read_bytes() == b""


def test_forked_workers_hold_nothing_and_started_ones_only_what_they_are_given(tmp_path):
    """A loader's worker may live for seconds after its master was killed; a training worker
    goes on with the run.
    """
    locks.lock(tmp_path, shared=False)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, b"x")  # by now it has forgotten what its parent holds
        signal.pause()
    os.read(reading, 1)
    try:
        assert (tmp_path / locks.LOCK).read_bytes()  # and has not spoken for its parent
        locks.release_all()
        locks.lock(tmp_path, shared=False)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    given = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=locks.held_descriptors())
    locks.release_all()
    with pytest.raises(UserError):
        locks.lock(tmp_path, shared=False)
    locks.release_all()
    given.communicate()
    locks.lock(tmp_path, shared=False)


def test_a_reader_needs_neither_folder_nor_permission(tmp_path):
    locks.lock(tmp_path / "absent", shared=True)
    assert not (tmp_path / "absent").exists()
    assert locks.held_descriptors() == ()
