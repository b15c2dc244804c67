"""Made positives are like their images and are no copies, on models that have learnt something
of the demo's world.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F

from dcr.parameters import PretrainingParameters
from dcr.positives.clsp import sample_like
from dcr.scenes import pretrain_clip, pretrain_unet, pretrain_vae
from dcr.scenes.drawing import render
from dcr.scenes.pretrain_data import ImageSet
from dcr.scenes.world import caption, sample_attributes

pytestmark = pytest.mark.slow  # about two minutes, most of them training

CONF = Path(__file__).parents[2] / "conf" / "base" / "parameters_pretraining.yml"
NUM_TRAINING, NUM_ANCHORS = 600, 512  # of 256 it was 4.7 standard errors for models of one machine
# A quarter of the demo's steps, and half of the captions emptied, since half of what follows is
# drawn without any.
SHORT = {"clip_steps": 100, "vae_steps": 150, "unet_steps": 150, "empty_prompt_share": 0.5}


def draw_images(count: int) -> ImageSet:
    attributes = [sample_attributes(0, "train", index) for index in range(count)]
    drawn = [
        np.asarray(render(a, 0, "train", index, 32).convert("RGB"))
        for index, a in enumerate(attributes)
    ]
    pixels = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()
    return ImageSet(pixels, [caption(a) for a in attributes], attributes)


@pytest.fixture(scope="module")
def world():
    """Models trained on some images of the demo's world; of others pixels, latents, features
    and captions.
    """
    torch.set_num_threads(1)
    parameters = PretrainingParameters(**yaml.safe_load(CONF.read_text())["pretraining"] | SHORT)
    images = draw_images(NUM_TRAINING + NUM_ANCHORS)
    training, anchors = images.part(0, NUM_TRAINING), images.part(NUM_TRAINING, len(images))
    backbone = pretrain_clip.train_clip(training, parameters)
    vae = pretrain_vae.train_vae(training, parameters)
    diffusion = pretrain_unet.train_unet(training, vae, parameters)
    pixels = anchors.pixels(torch.arange(NUM_ANCHORS))

    @torch.no_grad()
    def cosines(made: torch.Tensor) -> torch.Tensor:
        """Return those of each anchor to each made image, (N, N)."""
        found, own = (F.normalize(backbone.encode_image(x), dim=-1) for x in (made, pixels))
        return own @ found.T

    with torch.no_grad():
        latents = diffusion.scale_latents(diffusion.encode_moments(pixels)[0])
    return SimpleNamespace(
        diffusion=diffusion,
        pixels=pixels,
        latents=latents,
        captions=anchors.captions,
        cosines=cosines,
    )


@pytest.fixture(scope="module")
def made(world):
    """Images by condition and weight; those of one condition start from the same noise."""

    def sample(prompts: list[str], sample_weight: float) -> torch.Tensor:
        hidden = world.diffusion.encode_prompts(prompts)
        latents = sample_like(
            world.diffusion, world.latents, hidden, range(NUM_ANCHORS), 10, 0.1, sample_weight
        )
        return world.diffusion.decode_latents(latents).float()

    prompts = {"none": [""] * NUM_ANCHORS, "caption": world.captions}
    asked = [("none", 1.0), ("none", 0.1), ("caption", 0.1)]
    return {(condition, weight): sample(prompts[condition], weight) for condition, weight in asked}


def own_above_others(cosines: torch.Tensor) -> torch.Tensor:
    """Return by how much each made image is nearer to its own anchor than to the others in the
    mean, (N,).
    """
    own = cosines.diagonal()
    return own - (cosines.sum(dim=0) - own) / (len(cosines) - 1)


def in_standard_errors(values: torch.Tensor) -> float:
    """Return how many standard errors the mean is above zero."""
    return (values.mean() / (values.std() / len(values) ** 0.5)).item()


def test_made_images_are_nearer_to_their_anchor_than_to_other_images(world, made):
    likeness = own_above_others(world.cosines(made["caption", 0.1]))
    print(
        f"with captions: {likeness.mean():.4f}, {in_standard_errors(likeness):.1f} standard errors"
    )
    assert in_standard_errors(likeness) > 5


def test_it_is_the_anchors_features_that_make_them_so(world, made):
    """Without captions, against plain DDIM from the same noise, which knows nothing of the
    anchor.
    """
    plain, drawn = (own_above_others(world.cosines(made["none", weight])) for weight in (1.0, 0.1))
    print(
        f"plain: {in_standard_errors(plain):.1f}; drawn {drawn.mean():.4f},"
        f" {in_standard_errors(drawn):.1f};"
    )
    print(
        f"gain {(drawn - plain).mean():.4f}, {in_standard_errors(drawn - plain):.1f} standard"
        " errors"
    )
    assert abs(in_standard_errors(plain)) < 3
    assert in_standard_errors(drawn - plain) > 5


@pytest.mark.parametrize("condition", ["none", "caption"])
def test_made_images_are_no_copies(world, made, condition):
    """Even the one most like its anchor is farther from it than the VAE's own copies of anchors
    are in the mean.
    """
    copies = world.diffusion.decode_latents(world.latents).float()
    made_apart, copies_apart = (
        (images - world.pixels).abs().mean(dim=(1, 2, 3))
        for images in (made[condition, 0.1], copies)
    )
    print(
        f"{condition}: least {made_apart.min():.3f}, mean {made_apart.mean():.3f}; copy"
        f" {copies_apart.mean():.3f}"
    )
    assert made_apart.min() > copies_apart.mean()
