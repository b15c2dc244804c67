"""Latents of other models than those that train are refused."""

from types import SimpleNamespace

import pytest
import torch

from dcr.errors import UserError
from dcr.training.inputs import check_latents
from training_world import load_world, write_world


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
