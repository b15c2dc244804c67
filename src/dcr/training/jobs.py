"""The two stages as a recipe names them: in this process, or in workers whose final checkpoints it then reads."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from dcr.backbones import Backbone
from dcr.diffusion import Diffusion
from dcr.errors import UserError
from dcr.latents import LatentCache
from dcr.parameters import TrainingParameters
from dcr.training import options, stages
from dcr.training.checkpoints import Checkpoints
from dcr.training.fingerprint import input_hashes, run_fingerprint
from dcr.training.launcher import launch
from dcr.training.processes import Processes, alone
from dcr.training.published import with_openai_normalization
from dcr.training.run import RunResult
from dcr.training.stages import Data

State = dict[str, torch.Tensor]


@dataclass
class Job:
    """One recipe's training: what it reads, and the folder under which each run has its checkpoints.

    ``finished`` says that the runs' final checkpoints are there and that nothing is to be trained.
    """

    parameters: TrainingParameters
    latents: LatentCache
    backbone: Backbone
    diffusion: Diffusion
    folder: Path
    processes: Processes
    finished: bool = False

    def __post_init__(self) -> None:
        if self.parameters.published_normalization:
            self.backbone = with_openai_normalization(self.backbone)

    @cached_property
    def data(self) -> Data:
        """Samples and held-out measurement on the processes' device."""
        hashes = self.hashes  # taken before anything moves or casts the models
        assert hashes
        p = self.parameters
        return Data.open(
            self.latents, self.diffusion.to(self.processes.device),
            options.view_augmentation(p, self.backbone.preprocessing), p.validation_fraction, p.num_validation_samples,
            p.seed, options.batch_options(p), p.published_prompt_mask,
        )  # fmt: skip

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Hashes of what went in."""
        return input_hashes(self.latents, self.backbone, self.diffusion)

    def checkpoints(self, name: str, projector: State | None = None) -> Checkpoints:
        """Return the checkpoints of a run."""
        p = self.parameters
        return Checkpoints(
            self.folder / name,
            run_fingerprint(p, name, self.hashes, projector),
            p.checkpointing_steps,
            p.checkpoints_total_limit,
            "latest" if self.finished else p.resume_from_checkpoint,
        )

    def check_finished(self, name: str, checkpoints: Checkpoints) -> None:
        """Refuse to train here what workers should have trained."""
        steps = options.run_options(self.parameters, name).max_train_steps
        found = checkpoints.find(steps)
        if found is None or found.name != f"checkpoint-{steps}":
            raise UserError(
                f"the workers left no final checkpoint of {name} in {checkpoints.folder}; every host must see this "
                "folder under the same path"
            )


def train_projector(job: Job) -> tuple[State, dict[str, float], RunResult]:
    """Stage 1; return the projector's weights, held-out noise errors and the run."""
    job = _in_workers(job, None)
    data, checkpoints = job.data, job.checkpoints(options.STAGE1)
    if job.finished:
        job.check_finished(options.STAGE1, checkpoints)
    projector, result, errors = stages.train_projector(
        job.backbone, job.diffusion, data, options.run_options(job.parameters, options.STAGE1),
        options.objective_options(job.parameters), job.processes, checkpoints,
    )  # fmt: skip
    return {name: tensor.cpu() for name, tensor in projector.state_dict().items()}, errors, result


def train_adapters(job: Job, projector: State) -> dict[str, tuple[State, RunResult]]:
    """Stage 2; return each method's adapter and run, all from the same tower and projector."""
    job = _in_workers(job, projector)
    return {name: _train_adapter(job, name, projector) for name in options.methods(job.parameters)}


def _train_adapter(job: Job, name: str, projector: State) -> tuple[State, RunResult]:
    data, checkpoints = job.data, job.checkpoints(name, projector)
    if job.finished:
        job.check_finished(name, checkpoints)
    return stages.train_adapter(
        deepcopy(job.backbone), job.diffusion, projector, data, options.run_options(job.parameters, name),
        options.objective_options(job.parameters), options.lora_options(job.parameters), job.processes, checkpoints,
    )  # fmt: skip


def open_job(
    parameters: TrainingParameters, latents: LatentCache, backbone: Backbone, diffusion: Diffusion, folder: Path
) -> Job:
    """Return the job of one process.

    Raises:
        UserError: resume_from_checkpoint is a path that is no checkpoint of this recipe.
    """
    resume = parameters.resume_from_checkpoint
    if resume not in ("latest", "none"):
        path = Path(resume)
        if not path.is_dir() or path.resolve().parent.parent != Path(folder).resolve():
            raise UserError(
                f"resume_from_checkpoint {resume}: no such checkpoint of this recipe; give latest, none or a folder "
                f"{folder}/<run>/checkpoint-<step>"
            )
    return Job(parameters, latents, backbone, diffusion, Path(folder), alone())


def _in_workers(job: Job, projector: State | None) -> Job:
    """Let workers train where there are to be several; return the job that reads what they left."""
    p = job.parameters
    if job.finished or job.processes.count > 1 or p.num_processes * p.num_hosts == 1:
        return job
    launch(p, job.latents.folder, job.backbone.source, job.diffusion.source, job.folder, projector)
    return Job(p, job.latents, job.backbone, job.diffusion, job.folder, job.processes, finished=True)
