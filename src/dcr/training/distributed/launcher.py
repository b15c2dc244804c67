"""Starts the workers of a training job through torch.distributed.run, and ends as they ended."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from joblib import cpu_count
from safetensors.torch import save_file

from dcr.files import atomic_folder
from dcr.locks import held_descriptors
from dcr.parameters import TrainingParameters
from dcr.training.distributed.failures import NODE_PID, raise_first
from dcr.training.stopping import JOB, STOP_FILE, StopRequest

_log = logging.getLogger(__name__)


def launch(
    parameters: TrainingParameters,
    sources: Mapping[str, str | Path | None],
    checkpoints: Path,
    projector: dict[str, torch.Tensor] | None,
    at_once: int = 1,
    device: str = "cuda",
) -> None:
    """Run stage 1, or stage 2 if there is a projector, in ``num_processes`` workers a host.

    Args:
        parameters: the recipe's; they give the numbers of processes and hosts.
        sources: where the workers load ``latents``, ``backbone`` and ``diffusion`` from, and
            ``candidates``, the folder of made positives or None; the same path on every host.
        checkpoints: folder that every host sees; the workers leave each run's final checkpoint in
            it.
        projector: stage 1's weights; None for stage 1.
        at_once: above 1, so many workers instead, each of which trains whole methods of stage 2 by
            itself.
        device: ``cuda``, of which each worker takes its own, or ``cpu``.

    Raises:
        Stopped: SIGTERM or SIGHUP came, the workers have saved and ended.
        UserError: a worker met a mistake of the user.
        RuntimeError: a worker failed; the message holds its own traceback.
    """
    if not sources["diffusion"]:
        raise ValueError(
            "diffusion must have been loaded from a folder or hub id, got one made in memory"
        )
    job_id = uuid.uuid4().hex
    job = {
        "id": job_id,
        "parameters": parameters.model_dump(mode="json"),
        **{name: source and str(source) for name, source in sources.items()},
        "checkpoints": str(checkpoints),
        "has_projector": projector is not None,
        "at_once": at_once > 1,
        "device": device,
    }
    folder = checkpoints / JOB
    with atomic_folder(folder) as temporary:
        (temporary / "config.json").write_text(json.dumps(job, indent=1), encoding="utf-8")
        if projector is not None:
            save_file(projector, temporary / "projector.safetensors")
    workers = at_once if at_once > 1 else parameters.processes.num_processes
    command = worker_command(parameters, workers, folder / "config.json", job_id)
    if parameters.processes.num_hosts > 1:
        _log.info(
            "hosts that run `kedro join` take part by themselves; otherwise, on each of the other"
            " hosts run, in this project's folder: %s",
            shlex.join(["python", *command[1:]]),
        )
    exit_code, stopped = _wait(command, folder, workers)
    raise_first(folder, exit_code, stopped)


def worker_command(
    parameters: TrainingParameters, workers: int, config: Path, job_id: str
) -> list[str]:
    """Return the command that starts this host's workers.

    Args:
        parameters: the recipe's; they give the number of hosts and where these meet.
        workers: on this host.
        config: the file from which each reads its job.
        job_id: that of the job; hosts of one job alone meet.
    """
    one_host = parameters.processes.num_hosts == 1
    rendezvous = (
        ["--standalone"]
        if one_host
        else [
            "--rdzv-backend",
            "c10d",
            "--rdzv-id",
            job_id,
            "--rdzv-endpoint",
            parameters.processes.rendezvous_endpoint,
        ]
    )
    sizes = ["--nnodes", str(parameters.processes.num_hosts), "--nproc-per-node", str(workers)]
    module = ["-m", "dcr.training.distributed.worker", str(config), job_id]
    return [sys.executable, "-m", "dcr.training.distributed.agent", *sizes, *rendezvous, *module]


def worker_environment(workers: int) -> dict[str, str]:
    """Return the environment of this host's ``workers``, which share its cores unless it says.

    Its cores are those that this process may use: a scheduler or a container gives fewer than there
    are.
    """
    threads = max(1, cpu_count() // workers)
    return {"OMP_NUM_THREADS": str(threads), **os.environ}


def _wait(command: list[str], folder: Path, workers: int) -> tuple[int, bool]:
    """Run the command to its end; SIGTERM or SIGHUP meanwhile has the workers save and end."""
    environment = worker_environment(workers) | {NODE_PID: str(os.getpid())}
    process = subprocess.Popen(command, env=environment, pass_fds=held_descriptors())
    with StopRequest() as stop:
        while True:
            try:
                return process.wait(timeout=0.5), stop.requested
            except subprocess.TimeoutExpired:
                if stop.requested:
                    (folder / STOP_FILE).touch()
            except BaseException:  # Ctrl-C: nothing may outlive this process
                process.terminate()
                process.wait()
                raise
