"""Which host this is, by what each scheduler says."""

import os
import re
import stat

import pytest

from hosts import Hosts, find_hosts

SKYPILOT = {
    "SKYPILOT_NODE_RANK": "1",
    "SKYPILOT_NUM_NODES": "3",
    "SKYPILOT_NODE_IPS": "10.0.0.4\n10.0.0.5\n10.0.0.6",
    "SKYPILOT_NUM_GPUS_PER_NODE": "8",
}
KUBERNETES = {"JOB_COMPLETION_INDEX": "1", "DCR_NUM_HOSTS": "2", "DCR_HEAD": "dcr-training-0.dcr"}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_NODEID": "1", "SLURM_GPUS_ON_NODE": "4"}
ARRAY = {
    "SLURM_JOB_ID": "9",
    "SLURM_NNODES": "1",
    "SLURM_ARRAY_TASK_ID": "5",
    "SLURM_ARRAY_TASK_MIN": "3",
    "SLURM_ARRAY_TASK_MAX": "6",
    "SLURM_ARRAY_TASK_COUNT": "4",
}


def test_without_a_scheduler_this_host_is_alone():
    assert find_hosts({}) == Hosts(0, 1, "localhost", 0)


def test_over_ssh_three_variables_tell():
    told = {"DCR_HOST_RANK": "1", "DCR_NUM_HOSTS": "2", "DCR_HEAD": "a", "DCR_NUM_GPUS": "8"}
    assert find_hosts(told) == Hosts(1, 2, "a", 8)


def test_skypilot_tells_all():
    assert find_hosts(SKYPILOT) == Hosts(1, 3, "10.0.0.4", 8)


def test_kubernetes_tells_the_index_and_the_manifest_the_rest():
    assert find_hosts(KUBERNETES) == Hosts(1, 2, "dcr-training-0.dcr", 0)


def test_slurm_names_the_first_node_itself(tmp_path, monkeypatch):
    """`scontrol` alone knows what a list of nodes means."""
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\necho "$@" >&2\nprintf "gpu03\\ngpu04\\n"\n')
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_hosts(SLURM | {"SLURM_JOB_NODELIST": "gpu[03-04]"}) == Hosts(1, 2, "gpu03", 4)


def test_tasks_of_a_slurm_array_are_hosts_that_meet_no_other():
    assert find_hosts(ARRAY) == Hosts(2, 4, "localhost", 0, is_array=True)
    with pytest.raises(SystemExit, match="--nodes=1"):
        find_hosts(ARRAY | {"SLURM_NNODES": "2"})


def array(tasks, task, step):
    numbers = {"ID": task, "MIN": tasks[0], "MAX": tasks[-1], "COUNT": len(tasks), "STEP": step}
    return ARRAY | {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in numbers.items()}


@pytest.mark.parametrize("step", [1, 2, 5])
def test_tasks_of_an_array_with_a_stride_are_counted_without_it(step):
    tasks = range(1, 1 + 4 * step, step)
    found = [find_hosts(array(tasks, task, step)) for task in tasks]
    assert [(host.rank, host.count) for host in found] == [(i, 4) for i in range(4)]


@pytest.mark.parametrize("task", [1, 2, 7])
def test_an_array_that_does_not_tell_a_tasks_place_is_refused(task):
    with pytest.raises(SystemExit, match="submit it as --array=0-N"):
        find_hosts(array([1, 2, 7], task, 1))


def test_what_the_user_says_goes_before_the_scheduler():
    assert find_hosts(SKYPILOT | {"DCR_HEAD": "b", "DCR_NUM_GPUS": "2"}) == Hosts(1, 3, "b", 2)


@pytest.mark.parametrize("rank", ["-1", "2"])
def test_a_rank_that_is_none_of_the_hosts_is_refused(rank):
    told = {"DCR_HOST_RANK": rank, "DCR_NUM_HOSTS": "2", "DCR_HEAD": "a"}
    with pytest.raises(SystemExit, match="number the hosts from 0"):
        find_hosts(told)


def test_several_hosts_without_a_first_are_refused():
    with pytest.raises(SystemExit, match="set DCR_HEAD"):
        find_hosts({"DCR_HOST_RANK": "0", "DCR_NUM_HOSTS": "2"})


@pytest.mark.parametrize(
    ("told", "name", "value", "rule"),
    [
        (SKYPILOT, "DCR_HOST_RANK", "first", "a whole number"),
        (SKYPILOT, "DCR_NUM_HOSTS", "0", "a whole number from 1"),
        (SKYPILOT, "DCR_NUM_GPUS", "-1", "a whole number from 0"),
        (SKYPILOT, "SKYPILOT_NUM_NODES", "2.5", "a whole number from 1"),
        (KUBERNETES, "JOB_COMPLETION_INDEX", "", "a whole number from 0"),
        (SLURM, "SLURM_GPUS_ON_NODE", "gpu:4", "a whole number from 0"),
        (ARRAY, "SLURM_ARRAY_TASK_ID", "1" * 10, "a whole number from 0"),
    ],
)
def test_a_variable_that_is_no_number_is_named_with_its_rule(told, name, value, rule):
    sentence = re.escape(f"{name}={value!r} of the environment must be {rule}")
    with pytest.raises(SystemExit, match=f"^{sentence}$"):
        find_hosts(told | {name: value})


@pytest.mark.parametrize(
    ("told", "name", "sentence"),
    [
        (SKYPILOT, "SKYPILOT_NUM_NODES", "SKYPILOT_NUM_NODES is not set"),
        (SKYPILOT, "SKYPILOT_NODE_IPS", "SKYPILOT_NODE_IPS of the environment names no host"),
        (ARRAY, "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_COUNT is not set"),
        (SLURM, "SLURM_JOB_NODELIST", "SLURM_JOB_NODELIST of the environment names no host"),
    ],
)
def test_a_variable_that_a_scheduler_left_out_is_named(told, name, sentence):
    with pytest.raises(SystemExit, match=sentence):
        find_hosts({key: value for key, value in told.items() if key != name})


@pytest.mark.parametrize("script", [None, "echo not a list >&2; exit 1", "exit 0"])
def test_without_scontrol_the_sentence_says_what_to_do(tmp_path, monkeypatch, script):
    monkeypatch.setenv("PATH", str(tmp_path))
    if script:
        (tmp_path / "scontrol").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "scontrol").chmod(0o755)
    with pytest.raises(SystemExit, match=r"scontrol show hostnames gpu.* let DCR_HEAD name it"):
        find_hosts(SLURM | {"SLURM_JOB_NODELIST": "gpu[03-04]"})
