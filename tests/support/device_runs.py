"""The same small training on any device, so that the CPU's can be compared with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch

from dcr.latents import open_latents
from dcr.models.backbones import load_backbone
from dcr.models.diffusion import load_diffusion
from dcr.training import jobs
from dcr.training.distributed.processes import Processes
from dcr.training.job import open_job
from training_world import fixed_projector, parameters

Run = Callable[[torch.device], tuple[dict[str, torch.Tensor], pd.DataFrame]]
"""device -> weights on the CPU, and the log."""


def prepare(world: Path, folder: Path, name: str, steps: int, **changes) -> Run:
    """Load what stage 1, or stage 2 by a method, trains for some steps; return what trains it,
    once.

    Args:
        world: of `training_world.write_world`. folder: for the checkpoints, a new one each time.
    """
    p = parameters(
        **{
            "stage1.max_train_steps": steps,
            "stage2.max_train_steps": steps,
            "checkpoints.every_steps": 100,
            "held_out.every_steps": 100,
        },
        end_to_end_max_train_steps=steps,
        method="dcr" if name == "stage1" else name,
        **changes,
    )
    backbone = load_backbone(f"local-dir:{world / 'clip'}")
    diffusion, latents = load_diffusion(str(world / "diffusion")), open_latents(world / "latents")
    for module in (backbone.model, diffusion.vae, diffusion.unet, diffusion.text_encoder):
        align(module)
    job = open_job(p, latents, backbone, diffusion, folder)
    projector = fixed_projector(world)

    @without_fast_path()
    def run(device: torch.device) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
        job.processes = Processes(0, 1, device)
        if name == "stage1":
            weights, _, result = jobs.train_projector(job)
            return weights, result.losses
        trained = jobs.train_adapters(job, projector)
        return trained.towers[name], trained.runs[name].losses

    return run


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Attend without PyTorch's fast path, which subclasses of tensors never take and which sums in
    another order; afterwards the process is as it was.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def align(module: torch.nn.Module) -> None:
    """Put weights where PyTorch allocates: those of a mapped file may lie anywhere, for which
    MKL sums otherwise.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()
