"""Latents of other models than those that train are refused."""

from types import SimpleNamespace

import pytest
import torch

from dcr.errors import UserError
from dcr.training import jobs
from dcr.training.inputs import check_latents
from training_world import load_world, open_job, write_world


def test_latents_of_another_vae_or_size_are_refused(tmp_path):
    backbone, diffusion, latents = load_world(write_world(tmp_path))
    bigger = SimpleNamespace(image_size=64, source="a/b")
    with pytest.raises(
        UserError, match=r"holds crops of 32 px, but a/b takes 64 px; .*--pipelines latents"
    ):
        check_latents(latents, bigger, diffusion)
    with torch.no_grad():
        next(diffusion.vae.parameters()).add_(1)
    with pytest.raises(UserError, match=r"holds latents of another VAE .*--pipelines latents"):
        check_latents(latents, backbone, diffusion)


def test_cuda_graphs_are_refused_on_a_cpu_before_anything_is_read(tmp_path):
    job = open_job(
        write_world(tmp_path / "world"),
        tmp_path / "checkpoints",
        compile=True,
        **{"execution.cuda_graphs": True},
    )
    with pytest.raises(UserError, match=r"cuda_graphs needs a CUDA device, .* on cpu: set it to"):
        jobs.train_projector(job)
    assert "hashes" not in vars(job)
