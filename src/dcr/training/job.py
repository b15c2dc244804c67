"""One recipe's training: what it reads, and the folder that its runs keep checkpoints in."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from dcr.data.remote import check_target
from dcr.errors import UserError
from dcr.latents import LatentCache, OnlineLatents
from dcr.models.backbones import Backbone
from dcr.models.diffusion import Diffusion
from dcr.parameters import TrainingParameters
from dcr.positives.making import PIPELINE
from dcr.published.views import with_openai_normalization
from dcr.training.checkpoints import Checkpoints
from dcr.training.contrast import build_contrast
from dcr.training.copies import Copies
from dcr.training.distributed.processes import Processes, alone
from dcr.training.fingerprint import input_hashes, run_fingerprint
from dcr.training.inputs import check_candidates, check_device, check_latents
from dcr.training.precision import make_ready
from dcr.training.runs import Run, all_runs
from dcr.training.views import view_augmentation
from dcr.training.work import Data

State = dict[str, torch.Tensor]
Latents = LatentCache | OnlineLatents


@dataclass
class Job:
    """One recipe's training: what it reads, and the folder of all its runs' checkpoints.

    ``finished`` says that the runs' final checkpoints are there and that nothing is to be trained.
    ``candidates`` is the folder of made positives, read if the recipe wants them. ``done`` are the
    folders of the runs that this job has finished: later ones that begin in the same way go on from
    them.
    """

    parameters: TrainingParameters
    latents: Latents
    backbone: Backbone
    diffusion: Diffusion
    folder: Path
    processes: Processes
    finished: bool = False
    candidates: Path | None = None
    done: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.parameters.takes("normalization"):
            self.backbone = with_openai_normalization(self.backbone)

    @cached_property
    def data(self) -> Data:
        """Samples and held-out measurement on the processes' device."""
        p = self.parameters
        check_device(p.execution, self.processes.device)
        hashes = self.hashes  # taken before anything moves or casts the models
        assert hashes
        self.check_bytes()
        make_ready(
            self.diffusion,
            self.processes.device,
            p.mixed_precision,
            p.execution,
        )
        data = Data.open(
            self.latents,
            self.diffusion,
            view_augmentation(p, self.backbone.preprocessing),
            p.held_out,
            p.seed,
            p.takes("prompt_mask"),
        )
        data.candidates = self.synthetic_positives
        return data

    def leave_device(self) -> None:
        """Move the models to the CPU: the GPUs are the workers' while they train."""
        self.backbone.to("cpu")
        self.diffusion.to("cpu")
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def check_bytes(self) -> None:
        """Compare the shards with their hashes, once a host, each process its share."""
        if self.finished:  # the workers have done so
            return
        rank, count = self.processes.on_host
        for cache in (self.latents, self.synthetic_positives):
            if isinstance(cache, LatentCache):
                cache.check_bytes(list(cache.shard_keys())[rank::count])
        self.processes.barrier()

    @cached_property
    def synthetic_positives(self) -> LatentCache | None:
        """Positives made of the same samples, where the recipe wants them."""
        if self.parameters.positives.source != "synthetic" or self.candidates is None:
            return None
        found = LatentCache(self.candidates, PIPELINE)
        check_candidates(self.latents, found)
        return found

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Hashes of what went in."""
        check_latents(self.latents, self.backbone, self.diffusion)
        hashes = input_hashes(self.latents, self.backbone, self.diffusion)
        if self.synthetic_positives is not None:
            hashes["positives"] = self.synthetic_positives.fingerprint()
        return hashes

    def checkpoints(
        self, run: Run, projector: State | None = None, start: State | None = None
    ) -> Checkpoints:
        """Return the checkpoints of a run; ``projector`` and ``start`` as for `run_fingerprint`."""
        kept = self.parameters.checkpoints
        fingerprint = run_fingerprint(run, self.hashes, projector, start)
        sent = kept.sync if self.processes.is_first and not self.finished else None
        return Checkpoints(
            self.folder / run.name,
            fingerprint,
            kept.every_steps,
            kept.total_limit,
            "latest" if self.finished else kept.resume_from,
            tuple(self.done),
            Copies(sent, run.name, fingerprint, kept.total_limit) if sent else None,
        )

    def check_finished(self, run: Run, checkpoints: Checkpoints) -> None:
        """Refuse to train a ``run`` that workers should have finished in its ``checkpoints``."""
        found = checkpoints.find(run.max_train_steps)
        if found is None or found.name != f"checkpoint-{run.max_train_steps}":
            raise UserError(
                f"the workers left no final checkpoint of {run.name} in {checkpoints.folder}; every"
                " host must see this folder under the same path"
            )


def open_job(
    parameters: TrainingParameters,
    latents: Latents,
    backbone: Backbone,
    diffusion: Diffusion,
    folder: Path,
    candidates: Path | None = None,
) -> Job:
    """Return the job of one process.

    ``parameters``, ``latents``, ``backbone`` and ``diffusion`` are the recipe's, ``folder`` is to
    hold each run's checkpoints, ``candidates`` is the folder of made positives, if there is one.

    Raises:
        UserError: checkpoints.resume_from is a path that is no checkpoint of this recipe,
            checkpoints.sync is no URL or path of a folder that takes files (the store is not asked:
            what it refuses later ends no training), or a phase has numbers that do not go
            together, which it would tell after hours of those before it.
    """
    for run in all_runs(parameters).values():
        build_contrast(run)
    if parameters.checkpoints.sync:
        check_target(parameters.checkpoints.sync, "training.checkpoints.sync")
    resume = parameters.checkpoints.resume_from
    if resume not in ("latest", "none"):
        path = Path(resume)
        if not path.is_dir() or path.resolve().parent.parent != Path(folder).resolve():
            raise UserError(
                f"checkpoints.resume_from {resume}: no such checkpoint of this recipe; give latest,"
                f" none or a folder {folder}/<run>/checkpoint-<step>"
            )
    return Job(
        parameters,
        latents,
        backbone,
        diffusion,
        Path(folder),
        alone(diffusion.device),
        candidates=candidates,
    )
