"""The two stages as a recipe names them, in this process or in workers.

The latter leave final checkpoints, which are then read.
"""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch

from dcr.errors import UserError
from dcr.training import stages
from dcr.training.contrast import build_contrast
from dcr.training.distributed.launcher import launch
from dcr.training.distributed.sharding import full_tensor
from dcr.training.fingerprint import code_hash
from dcr.training.job import Job, State
from dcr.training.monitoring.monitor import Monitor
from dcr.training.runs import (
    END_TO_END,
    Run,
    RunResult,
    approximations,
    shorter_first,
    stage1_run,
    stage2_runs,
)
from dcr.training.work import Work

_log = logging.getLogger(__name__)


@dataclass
class Trained:
    """What stage 2 leaves: trained weights by encoder, runs by name, the product's projector.

    The weights are the tower's.
    """

    towers: dict[str, State]
    runs: dict[str, RunResult]
    projector: State


def train_projector(job: Job) -> tuple[State, dict[str, float], RunResult]:
    """Train a ``job``'s stage 1; return projector weights, held-out noise errors and the run."""
    if path := job.parameters.stage1.projector_file:
        if job.parameters.condition != "broadcast":
            raise UserError(
                "stage1.projector_file is of condition broadcast, the recipe's is"
                f" {job.parameters.condition}: change one of them"
            )
        work = _open_work(job, stage1_run(job.parameters))
        imported, result, errors = stages.import_projector(job.backbone, job.diffusion, work, path)
        return _on_cpu(imported), errors, result
    _train_in_workers(job, None)
    work = _open_work(job, stage1_run(job.parameters))
    projector, result, errors = stages.train_projector(
        job.backbone, job.diffusion, work, job.parameters.condition
    )
    return _on_cpu(projector), errors, result


def train_adapters(job: Job, projector: State) -> Trained:
    """Train a ``job``'s stage 2: all methods from the same tower.

    All but end_to_end start from stage 1's ``projector``, too.
    """
    _train_in_workers(job, projector)
    runs = stage2_runs(job.parameters)
    found = {}
    for encoder, phases in shorter_first(runs).items():
        found[encoder] = train_method(job, phases, projector)
    towers = {encoder: found[encoder][0] for encoder in runs}
    results = {name: result for encoder in runs for name, result in found[encoder][1].items()}
    return Trained(towers, results, found[job.parameters.method][2])


def train_method(
    job: Job, phases: list[Run], projector: State
) -> tuple[State, dict[str, RunResult], State]:
    """Train a method of ``job`` through its ``phases``, the first from stage 1's ``projector``.

    Return the tower's trained weights, each phase's result by name, and the projector that fits
    them.
    """
    tuning = job.parameters.tuning
    state = None
    results = {}
    for run in phases:
        work = _open_work(job, run, projector, state)
        backbone = deepcopy(job.backbone)
        if run.method == END_TO_END:
            trained = stages.train_end_to_end(
                backbone, job.diffusion, work, tuning, job.parameters.condition
            )
            state, results[run.name], own = trained
            projector = _on_cpu(own)
        else:
            state, results[run.name] = stages.train_adapter(
                backbone, job.diffusion, projector, work, tuning, state
            )
        assert work.checkpoints is not None  # `_open_work` gave it some
        job.done.append(work.checkpoints.folder)
    assert state is not None  # a method has a phase at least
    return state, results, projector


def _open_work(
    job: Job, run: Run, projector: State | None = None, start: State | None = None
) -> Work:
    """Return what a run needs, having said which approximations it makes."""
    data = job.data
    checkpoints = job.checkpoints(run, projector, start)
    if job.finished:
        job.check_finished(run, checkpoints)
    for approximation in approximations(run):
        _log.warning("%s is approximate: %s.", run.name, approximation)
    return Work(data, run, build_contrast(run), Monitor, job.processes, checkpoints)


def _on_cpu(module: torch.nn.Module) -> State:
    return {name: full_tensor(tensor).cpu() for name, tensor in module.state_dict().items()}


def _train_in_workers(job: Job, projector: State | None) -> None:
    """Let workers train where there are to be several; the job then reads what they left."""
    p = job.parameters
    at_once = 1 if projector is None else min(p.processes.num_methods_at_once, len(stage2_runs(p)))
    if job.finished or job.processes.is_worker or p.processes.count * at_once == 1:
        return
    # from here on that of the code which the workers start with: their result outlives an edit
    code_hash()
    job.leave_device()
    sources: dict[str, str | Path | None] = {
        "latents": job.latents.folder,
        "backbone": job.backbone.source,
        "diffusion": job.diffusion.source,
        "candidates": job.candidates,
    }
    launch(p, sources, job.folder, projector, at_once, job.processes.device.type)
    job.finished = True
