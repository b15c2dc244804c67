"""Which of several hosts this one is, as the scheduler says by environment variables."""

from __future__ import annotations

import os
import re
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
    rank = number(told, "DCR_HOST_RANK", known.rank, least=None)
    count = number(told, "DCR_NUM_HOSTS", known.count, least=1)
    head = told.get("DCR_HEAD") or known.head
    gpus = number(told, "DCR_NUM_GPUS", known.gpus)
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
        return Hosts(number(told, "JOB_COMPLETION_INDEX"), number(told, "DCR_NUM_HOSTS", 1))
    if "SLURM_JOB_ID" in told:
        return _slurm(told)
    return Hosts()


def number(
    told: Mapping[str, str],
    name: str,
    default: int | None = None,
    least: int | None = 0,
    most: int | None = None,
) -> int:
    """Return a whole number of the environment.

    Args:
        told: variables by name.
        name: of one.
        default: where it is not set; None if it must be.
        least, most: that it may be, None for no bound.

    Raises:
        SystemExit: it is missing, no whole number, or out of bounds.
    """
    value = told.get(name, default)
    if value is None:
        raise SystemExit(f"{name} is not set, though the scheduler sets variables beside it")
    text = str(value)
    found = int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None
    if (
        found is None
        or (least is not None and found < least)
        or (most is not None and found > most)
    ):
        lower = "" if least is None else f" from {least}"
        upper = "" if most is None else f" to {most}"
        raise SystemExit(f"{name}={text!r} of the environment must be a whole number{lower}{upper}")
    return found


def _skypilot(told: dict[str, str]) -> Hosts:
    return Hosts(
        number(told, "SKYPILOT_NODE_RANK"),
        number(told, "SKYPILOT_NUM_NODES", least=1),
        _first(told, "SKYPILOT_NODE_IPS"),
        number(told, "SKYPILOT_NUM_GPUS_PER_NODE", 0),
    )


def _first(told: dict[str, str], name: str) -> str:
    words = told.get(name, "").split()
    if not words:
        raise SystemExit(f"{name} of the environment names no host")
    return words[0]


def _slurm(told: dict[str, str]) -> Hosts:
    gpus = number(told, "SLURM_GPUS_ON_NODE", 0)
    count = number(told, "SLURM_NNODES", 1, least=1)
    if "SLURM_ARRAY_TASK_ID" in told:
        if count > 1:
            raise SystemExit("a task of a Slurm array is one host: ask for --nodes=1")
        return Hosts(*_task_of_array(told), gpus=gpus, is_array=True)
    head = "localhost" if count == 1 else _first_node(_first(told, "SLURM_JOB_NODELIST"))
    return Hosts(number(told, "SLURM_NODEID", 0), count, head, gpus)


def _task_of_array(told: dict[str, str]) -> tuple[int, int]:
    """Return the place of a task among those of its array, from 0, and how many these are.

    An array as ``0-6:2`` has a step; one as ``1,2,7`` has none, and does not tell a task's place.
    """
    names = ("ID", "MIN", "MAX", "COUNT")
    task, first, last, count = (number(told, f"SLURM_ARRAY_TASK_{name}") for name in names)
    step = number(told, "SLURM_ARRAY_TASK_STEP", 1, least=1)
    if last - first != (count - 1) * step or (task - first) % step:
        raise SystemExit(
            f"the array's {count} tasks from {first} to {last} are not evenly spaced, so that none"
            " knows its share: submit it as --array=0-N"
        )
    return (task - first) // step, count


def _first_node(node_list: str) -> str:
    """Return the first of a list such as ``gpu[03-04,07]``, which Slurm itself reads."""
    command = ["scontrol", "show", "hostnames", node_list]
    try:
        found = subprocess.run(command, capture_output=True, text=True)
        said, names = found.stderr.strip(), found.stdout.split()
    except OSError as exc:
        said, names = str(exc), []
    if not names:
        raise SystemExit(
            f"`{' '.join(command)}` does not name the first node ({said}): let DCR_HEAD name it, or"
            " put Slurm's commands on the PATH"
        )
    return names[0]
