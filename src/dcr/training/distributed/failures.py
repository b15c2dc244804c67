"""How a worker failed, left as a file for the node, whose error it becomes."""

from __future__ import annotations

import json
import time
import traceback
from pathlib import Path
from typing import Any

from dcr.errors import UserError
from dcr.faults import explain
from dcr.files import atomic_path
from dcr.training.stopping import Stopped

NODE_PID = "DCR_NODE_PID"
"""Environment variable with the process that the workers of this host must not outlive."""


def read_job(config: Path, job_id: str | None = None) -> dict[str, Any] | None:
    """Return what a job's ``config.json`` says; None if it is not there, or another job's.

    Args:
        config: the file, which every next job of the recipe replaces.
        job_id: of the job that is meant, None for whichever is there.
    """
    try:
        job: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    except OSError:  # not there yet, or just being replaced
        return None
    return job if job_id in (None, job["id"]) else None


def leave_failure(
    config: Path, job_id: str, rank: int | str, exc: Exception, came_first: bool = False
) -> None:
    """Write a rank's failure, which is being handled, beside the job's ``config.json``.

    If another job has taken the place of this one, nobody waits for it and nothing is written: a
    host that had joined what a killed run left would fail the run that came after.

    Args:
        config: of the job; the file is ``rank-{rank}.json`` beside it.
        job_id: of the job that failed.
        rank: of the worker, or ``agent`` for the process that starts them.
        exc: what it failed of.
        came_first: all others, even those that were written before, are its consequences.
    """
    if read_job(config, job_id) is None:
        return
    fault = None if isinstance(exc, Stopped) else explain(exc)
    kind = "stopped" if isinstance(exc, Stopped) else "crash" if fault is None else "user"
    failure = {
        "rank": rank,
        "time": 0.0 if came_first else time.time(),
        "kind": kind,
        "message": str(fault or exc),
        "traceback": traceback.format_exc(),
    }
    with atomic_path(config.with_name(f"rank-{rank}.json")) as temporary:
        temporary.write_text(json.dumps(failure), encoding="utf-8")


def first_failure(folder: Path) -> dict[str, Any] | None:
    """Return the failure in the job's ``folder`` that came first; None if none.

    The others come from having lost their peer.
    """
    failures = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("rank-*.json")]
    return min(failures, key=lambda failure: failure["time"], default=None)


def raise_first(folder: Path, exit_code: int, stopped: bool) -> None:
    """Raise what ended the workers; nothing if nothing did.

    Args:
        folder: of the job.
        exit_code: of torch.distributed.run, 0 where all workers ended well.
        stopped: the node was asked to stop meanwhile.

    Raises:
        Stopped, UserError, RuntimeError: see `dcr.training.distributed.launcher.launch`.
    """
    first = first_failure(folder) if exit_code else None
    if stopped and first is None:  # before a first step, or after the last one
        raise Stopped("training was stopped between two steps; the same command goes on from there")
    if exit_code == 0:
        return
    if first is None:
        raise UserError(
            f"the processes that train together were ended from outside (exit code {exit_code}),"
            " most often for lack of memory: lower num_processes or the batch, or free memory,"
            " then run the same command again: training goes on from its newest checkpoint"
        )
    if first["kind"] == "stopped":
        raise Stopped(first["message"])
    if first["kind"] == "user":
        raise UserError(first["message"])
    raise RuntimeError(f"rank {first['rank']} failed:\n{first['traceback']}")
