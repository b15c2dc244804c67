"""docs/inputs.md, "Machines and environments": each row that stops a run is tried, each other
one has its own test.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from kedro.runner import ThreadRunner

from dcr import faults
from dcr.errors import UserError
from dcr.framework.session import RecipeSession, check_ranks, check_runner
from dcr.locks import lock, release_all
from dcr.ranks import read_ranks
from inputs_doc import table_of

TESTS = Path(__file__).parent
ROWS = table_of("Machines and environments")


class TerminatedWorkerError(RuntimeError):
    """Called as loky's."""


def _under_torchrun(_):
    variables = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        check_ranks(["training"])
    finally:
        os.environ.clear()
        os.environ.update(before)


def _lock_twice(folder):
    lock(folder, shared=False)
    try:
        lock(folder, shared=False)
    finally:
        release_all()


def _fault(exc):
    def happens(_):
        raise faults.explain(exc)

    return happens


def _run_at_the_same_time(_):
    check_runner({"runner": ThreadRunner()})


EXAMPLES = [
    lambda _: read_ranks({"RANK": "", "WORLD_SIZE": "2"}),
    lambda _: read_ranks({"RANK": "0"}),
    lambda _: read_ranks({"RANK": "2", "WORLD_SIZE": "2"}),
    _under_torchrun,
    _run_at_the_same_time,
    lambda folder: RecipeSession("session", project_path=folder, conf_source="conf.tar.gz"),
    _lock_twice,
    _fault(OSError(errno.ENOSPC, "No space left on device", "data/x")),
    _fault(OSError(errno.EROFS, "Read-only file system", "data/x")),
    _fault(OSError(errno.EMFILE, "Too many open files", "data/x")),
    _fault(MemoryError()),
    _fault(
        TerminatedWorkerError(
            "A worker process managed by the executor was unexpectedly terminated"
        )
    ),
    _fault(RuntimeError("CUDA error: unspecified launch failure")),
]
SHOWN = [
    ("latents/test_loading.py", "test_a_container_with_hardly_any_shared_memory_is_enough"),
    (
        "framework/test_home.py",
        "test_training_goes_on_under_a_number_without_a_home_a_cache_or_a_temporary_folder",
    ),
    (
        "framework/test_home.py",
        "test_a_configuration_may_lie_elsewhere_and_be_named_by_a_relative_path",
    ),
    (
        "framework/test_home.py",
        "test_an_installed_wheel_runs_in_any_folder_with_a_configuration_of_its_own",
    ),
]
STOPS = [row for row in ROWS if row[2].strip("` ")]
GOES_ON = [row for row in ROWS if not row[2].strip("` ")]


@pytest.mark.parametrize(
    ("row", "example"), zip(STOPS, EXAMPLES, strict=True), ids=[row[2] for row in STOPS]
)
def test_what_stops_a_run_is_told_as_its_row_says(tmp_path, row, example):
    with pytest.raises(UserError) as error:
        example(tmp_path)
    assert row[2].strip("`") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "shown"), zip(GOES_ON, SHOWN, strict=True), ids=[shown[1] for shown in SHOWN]
)
def test_what_does_not_stop_a_run_is_shown_by_a_test(row, shown):
    file, test = shown
    assert f"def {test}(" in (TESTS / file).read_text(encoding="utf-8"), row
