"""Which host this is, by what each scheduler says."""

import os
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
