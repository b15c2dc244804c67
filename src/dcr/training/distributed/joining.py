"""Another host's part in a training: it joins the jobs that the first host starts."""

from __future__ import annotations

import logging
import subprocess
import time
from pathlib import Path
from typing import Any

from dcr.parameters import TrainingParameters
from dcr.training.distributed.failures import read_job
from dcr.training.distributed.launcher import worker_command, worker_environment
from dcr.training.stopping import JOB, StopRequest

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.5


def join_jobs(checkpoints: Path) -> None:
    """Start this host's workers of every job of several hosts, one after the other.

    SIGTERM or SIGHUP ends that. Stage 1 and stage 2 are a job each. A job that a killed run has
    left meets nobody; what waits for it here is ended once there is another. How a job ends the
    first host tells.

    Args:
        checkpoints: the recipe's folder, as the first host sees it; a job appears in it.
    """
    joined: str | None = None
    workers: subprocess.Popen[bytes] | None = None
    try:
        with StopRequest() as stop:
            while not stop.requested:
                job = read_job(checkpoints / JOB / "config.json")
                if job is not None and job["id"] != joined and _num_hosts(job) > 1:
                    _end(workers)
                    joined = job["id"]
                    workers = _start(job, checkpoints / JOB / "config.json")
                time.sleep(_POLL_SECONDS)
    finally:
        _end(workers)


def _num_hosts(job: dict[str, Any]) -> int:
    return int(job["parameters"]["processes"]["num_hosts"])


def _start(job: dict[str, Any], config: Path) -> subprocess.Popen[bytes]:
    parameters = TrainingParameters.model_validate(job["parameters"])
    count = parameters.processes.num_processes
    command = worker_command(parameters, count, config, job["id"])
    stage = 2 if job["has_projector"] else 1
    _log.info(
        "joins stage %d with %d process(es), at %s",
        stage,
        count,
        parameters.processes.rendezvous_endpoint,
    )
    return subprocess.Popen(command, env=worker_environment(count))


def _end(workers: subprocess.Popen[bytes] | None) -> None:
    """Ask what starts the workers to end with them, which first save if they have begun."""
    if workers is not None:
        workers.terminate()
        workers.wait()
