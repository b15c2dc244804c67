"""One of the processes that train, together or beside each other.

    python -m dcr.training.distributed.worker config.json <id>

torch.distributed.run starts it; see `dcr.training.distributed.launcher`. It leaves checkpoints and,
if it fails, says how.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from torch import distributed

from dcr.errors import UserError
from dcr.training.distributed.failures import NODE_PID, leave_failure, read_job


def main(config: Path, job_id: str) -> None:
    """Train the job's stage with the other ranks.

    Args:
        config: path of the job's config.json.
        job_id: of the job.
    """
    threading.Thread(target=end_with_parents, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    rank = int(os.environ["RANK"])
    try:
        job = read_job(config, job_id)
        if job is None:
            raise UserError("another training of this recipe has taken the place of this one")
        # What trains together has one voice, what trains apart one each.
        speaks = rank == 0 or job["at_once"]
        logging.getLogger("dcr").setLevel(logging.INFO if speaks else logging.ERROR)
        train(job, config.parent)
    except Exception as exc:
        leave_failure(config, job_id, rank, exc)
        sys.exit(getattr(exc, "exit_code", 1))
    if distributed.is_initialized():
        distributed.destroy_process_group()


def train(job: dict[str, Any], folder: Path) -> None:
    """Train this process's part of a ``job``, whose files are in ``folder``."""
    from safetensors.torch import load_file

    from dcr.latents import open_latents
    from dcr.models.backbones import load_backbone
    from dcr.models.diffusion import load_diffusion
    from dcr.parameters import TrainingParameters
    from dcr.progress import use_lines
    from dcr.training import jobs
    from dcr.training.distributed import at_once
    from dcr.training.distributed.processes import join, stand_apart
    from dcr.training.job import Job

    enter = stand_apart if job["at_once"] else join
    # Comes before anything is loaded: from here on this process's GPU is the current one.
    processes = enter(job["device"])
    work = Job(
        TrainingParameters.model_validate(job["parameters"]),
        open_latents(job["latents"]),
        load_backbone(job["backbone"]),
        load_diffusion(job["diffusion"]),
        Path(job["checkpoints"]),
        processes,
        candidates=job["candidates"] and Path(job["candidates"]),
    )
    if job["at_once"]:
        use_lines()
        at_once.train_share(work, load_file(folder / "projector.safetensors"), folder)
    elif job["has_projector"]:
        jobs.train_adapters(work, load_file(folder / "projector.safetensors"))
    else:
        jobs.train_projector(work)


def end_with_parents() -> None:
    """Kill this process once its starter or the node is gone.

    An orphan would write beside the next run.
    """
    parent = os.getppid()
    node = int(os.environ.get(NODE_PID, parent))
    while os.getppid() == parent and _is_alive(node):
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
