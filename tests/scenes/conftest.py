"""Base models of the smoke recipe's size, trained for a few steps on a dozen images of noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dcr.parameters import PretrainingParameters
from dcr.scenes import pretrain_clip, pretrain_unet, pretrain_vae
from dcr.scenes.pretrain_data import ImageSet
from dcr.scenes.world import caption, sample_attributes

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="package")
def parameters() -> PretrainingParameters:
    base, smoke = (
        yaml.safe_load((CONF / env / "parameters_pretraining.yml").read_text())["pretraining"]
        for env in ("base", "smoke")
    )
    # Its text encoder is not as large as CLIP's.
    return PretrainingParameters(**(base | smoke | {"unet_text_width": 32, "unet_text_layers": 1}))


@pytest.fixture(scope="package")
def images() -> ImageSet:
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.integers(0, 256, (12, 3, 32, 32), np.uint8))
    attributes = [sample_attributes(0, "test", index) for index in range(12)]
    return ImageSet(pixels, [caption(a) for a in attributes], attributes)


@pytest.fixture(scope="package")
def backbone(images, parameters):
    return pretrain_clip.train_clip(images, parameters)


@pytest.fixture(scope="package")
def vae(images, parameters):
    return pretrain_vae.train_vae(images, parameters)


@pytest.fixture(scope="package")
def diffusion(images, parameters, vae):
    return pretrain_unet.train_unet(images, vae, parameters)
