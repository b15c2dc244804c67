"""What the scripts of deploy/slurm do with the end of a step; `test_slurm.py` has a real Slurm."""

import os
import subprocess

import pytest

from project import PROJECT


@pytest.fixture
def end_with(tmp_path):
    """Runs step.sh with a step that ends with a code; returns it, what was requeued, and stderr."""
    for name, script in {
        "srun": "exit $STEP_CODE",
        "scontrol": f'echo "$@" >> {tmp_path}/told',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    def run(code, **variables):
        environment = {
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
            "SLURM_JOB_ID": "1234",
            "SLURM_JOB_NUM_NODES": "1",
            "STEP_CODE": str(code),
            **variables,
        }
        words = ["bash", PROJECT / "deploy/slurm/step.sh", "training"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        told = tmp_path / "told"
        return done.returncode, told.read_text() if told.exists() else "", done.stderr

    return run


def test_a_step_that_was_asked_to_end_goes_back_into_the_queue(end_with):
    assert end_with(143) == (143, "requeue 1234\n", "")


def test_a_task_of_an_array_goes_back_alone(end_with):
    task = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    assert end_with(143, **task)[1] == "requeue 7_3\n"


@pytest.mark.parametrize("code", [0, 1, 130])
def test_any_other_end_is_an_end(end_with, code):
    assert end_with(code) == (code, "", "")


@pytest.mark.parametrize(
    ("restarts", "most", "goes_back"),
    [("49", {}, True), ("50", {}, False), ("2", {"DCR_MAX_RESTARTS": "2"}, False)],
)
def test_a_job_that_never_comes_further_is_not_queued_for_ever(end_with, restarts, most, goes_back):
    code, requeued, said = end_with(143, SLURM_RESTART_COUNT=restarts, **most)
    assert code == 143
    assert bool(requeued) == goes_back
    assert (f"after {restarts} restarts (DCR_MAX_RESTARTS)" in said) != goes_back
