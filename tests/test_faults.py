"""What libraries and the system raise, as a sentence; a mistake in the code is none."""

import errno
import json

import pytest

from dcr.errors import UserError
from dcr.faults import Place, explain

PLACE = Place("a_node", "scores", "data/scores.json", "kedro run --pipelines evaluation")


def raised(inner, outer, explicit):
    """Return an exception that was raised from another, or while that was being handled."""
    outer.__cause__, outer.__context__ = (inner if explicit else None), inner
    return outer


def test_a_users_error_is_found_among_the_causes():
    exc = raised(
        UserError("temperature must be > 0\ngot -1"),
        RuntimeError("Failed while saving"),
        explicit=True,
    )
    assert str(explain(exc, PLACE)) == "temperature must be > 0 got -1"


@pytest.mark.parametrize(
    "code",
    [
        errno.ENOSPC,
        errno.EROFS,
        errno.EMFILE,
        errno.EFBIG,
        errno.EACCES,
        errno.EIO,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENODEV,
    ],
)
def test_what_the_system_refuses_names_the_path(code):
    assert str(explain(OSError(code, "words", "/data/x"), PLACE)).startswith("/data/x: ")
    assert str(explain(OSError(code, "words"), PLACE)).startswith("data/scores.json: ")


@pytest.mark.parametrize(
    "message",
    [
        "Error while serializing: I/O error: No space left on device (os error 28)",
        'IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })',
        "[Errno 28] Error writing bytes to file",
    ],
)
def test_a_librarys_words_for_a_full_disk(message):
    assert "the disk is full" in str(explain(RuntimeError(message), PLACE))


@pytest.mark.parametrize(
    ("exc", "words"),
    [
        (MemoryError(), "memory does not suffice"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
            ),
            "memory",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "memory does not suffice"),
        (RuntimeError("CUDA error: no kernel image is available"), "the accelerator failed"),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
            "a loader process was killed",
        ),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), "--shm-size"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
    ],
)
def test_memory_and_processes(exc, words):
    assert words in str(explain(exc, PLACE))


def test_a_damaged_file_is_named_with_what_makes_it():
    with pytest.raises(ValueError) as caught:
        json.loads("{")
    sentence = str(explain(caught.value, PLACE))
    assert "data/scores.json is damaged" in sentence
    assert "kedro run --pipelines evaluation" in sentence


@pytest.mark.parametrize(
    "exc",
    [
        TypeError("x"),
        KeyError("x"),
        ValueError("x"),
        RuntimeError("shapes do not match"),
        AssertionError(),
        RuntimeError("CUDA error: device-side assert triggered"),
        BrokenPipeError(errno.EPIPE, "x"),
    ],
)
def test_a_mistake_in_the_code_and_a_reader_that_went_away_are_none(exc):
    assert explain(exc, PLACE) is None


def test_what_was_merely_being_handled_does_not_hide_a_mistake():
    full = OSError(errno.ENOSPC, "words", "/data/x")
    assert explain(raised(full, TypeError("a mistake"), explicit=False), PLACE) is None
    assert explain(raised(full, RuntimeError("saving failed"), explicit=True), PLACE) is not None
