"""Which of several hosts this one is, as the scheduler says by environment variables."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Hosts:
    """The hosts of a step.

    Attributes:
        rank: of this one, from 0.
        count: how many there are.
        head: name or address of the first, by which the others reach it.
        gpus: that the scheduler gives each host, 0 where it tells of none.
        is_array: whether each is a job by itself, which meets no other.
    """

    rank: int = 0
    count: int = 1
    head: str = "localhost"
    gpus: int = 0
    is_array: bool = False


def find_hosts(environment: Mapping[str, str] = os.environ) -> Hosts:
    """Return the hosts that ssh, SkyPilot, Kubernetes or Slurm tells of, else this one alone.

    Args:
        environment: variables by name. DCR_HOST_RANK, DCR_NUM_HOSTS, DCR_HEAD and DCR_NUM_GPUS go
            before what a scheduler says.

    Raises:
        SystemExit: the variables contradict each other, or a part of them is missing.
    """
    told = dict(environment)
    known = _find_scheduler(told)
    rank = int(told.get("DCR_HOST_RANK", known.rank))
    count = int(told.get("DCR_NUM_HOSTS", known.count))
    head = told.get("DCR_HEAD", known.head)
    gpus = int(told.get("DCR_NUM_GPUS", known.gpus))
    if not 0 <= rank < count:
        raise SystemExit(
            f"host {rank} of {count}: number the hosts from 0 (DCR_HOST_RANK), below their number"
            " (DCR_NUM_HOSTS)"
        )
    if count > 1 and head == "localhost" and not known.is_array:
        raise SystemExit(
            f"{count} hosts, and none is named by which the others reach the first: set DCR_HEAD to"
            " its name or address"
        )
    return Hosts(rank, count, head, gpus, known.is_array)


def _find_scheduler(told: dict[str, str]) -> Hosts:
    if "SKYPILOT_NODE_RANK" in told:
        return _skypilot(told)
    if "JOB_COMPLETION_INDEX" in told:
        # How many there are Kubernetes tells no pod: DCR_NUM_HOSTS does.
        return Hosts(int(told["JOB_COMPLETION_INDEX"]), int(told.get("DCR_NUM_HOSTS", 1)))
    if "SLURM_JOB_ID" in told:
        return _slurm(told)
    return Hosts()


def _skypilot(told: dict[str, str]) -> Hosts:
    return Hosts(
        int(told["SKYPILOT_NODE_RANK"]),
        int(told["SKYPILOT_NUM_NODES"]),
        told["SKYPILOT_NODE_IPS"].split()[0],
        int(told.get("SKYPILOT_NUM_GPUS_PER_NODE", 0)),
    )


def _slurm(told: dict[str, str]) -> Hosts:
    gpus = int(told.get("SLURM_GPUS_ON_NODE", 0))
    count = int(told.get("SLURM_NNODES", 1))
    if "SLURM_ARRAY_TASK_ID" in told:
        if count > 1:
            raise SystemExit("a task of a Slurm array is one host: ask for --nodes=1")
        first = int(told["SLURM_ARRAY_TASK_MIN"])
        rank = int(told["SLURM_ARRAY_TASK_ID"]) - first
        return Hosts(rank, int(told["SLURM_ARRAY_TASK_COUNT"]), gpus=gpus, is_array=True)
    head = "localhost" if count == 1 else _first_node(told["SLURM_JOB_NODELIST"])
    return Hosts(int(told.get("SLURM_NODEID", 0)), count, head, gpus)


def _first_node(node_list: str) -> str:
    """Return the first of a list such as ``gpu[03-04,07]``, which Slurm itself reads."""
    command = ["scontrol", "show", "hostnames", node_list]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
