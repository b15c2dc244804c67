"""How good the demo's base models are, measured on images they were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from diffusers import AutoencoderKL

from dcr.data.benchmark_sets.mmvp_vlm import PROMPT
from dcr.errors import UserError
from dcr.models.backbones import Backbone
from dcr.models.diffusion import Diffusion
from dcr.progress import show_progress
from dcr.scenes.pretrain_data import ImageSet, batched
from dcr.scenes.pretrain_unet import encode_captions, full_captions
from dcr.scenes.world import DETAILS, SCENE_CLASSES, TEMPLATES, caption, statement
from dcr.seeds import numpy_generator, torch_generator

_BATCH_SIZE = 128
# Where no detail is known, chance alone lifts one of nine above this in one run of 80.
_NUM_STANDARD_ERRORS = 3


@torch.no_grad()
def zero_shot_accuracy(backbone: Backbone, images: ImageSet) -> float:
    """Return the share of images whose class is the nearest prompt's, averaged over templates.

    Args:
        backbone: both towers are used.
        images: with their attributes, of which the class is the label.
    """
    prompts = [template.format(c=name) for name in SCENE_CLASSES for template in TEMPLATES]
    texts = torch.nn.functional.normalize(backbone.encode_text(prompts), dim=-1)
    classes = texts.view(len(SCENE_CLASSES), len(TEMPLATES), -1).mean(dim=1)
    labels = torch.tensor([attributes["class"] for attributes in images.attributes])
    batches = batched(len(images), _BATCH_SIZE)
    chosen = torch.cat(
        [(backbone.encode_image(images.pixels(i)) @ classes.T).argmax(dim=1) for i in batches]
    )
    return (chosen == labels).float().mean().item()


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, images: ImageSet) -> float:
    """Return the peak signal-to-noise ratio in dB, a mean over images.

    The posterior's mean is decoded.

    Args:
        vae: takes and gives pixels in [-1, 1].
        images: of any number; they are encoded 128 at a time.
    """
    ratios = []
    for indices in batched(len(images), _BATCH_SIZE):
        pixels = images.pixels(indices)
        decoded = vae.decode(vae.encode(pixels * 2 - 1).latent_dist.mean).sample / 2 + 0.5
        ratios.append(-10 * (decoded.clamp(0, 1) - pixels).square().mean(dim=(1, 2, 3)).log10())
    return torch.cat(ratios).mean().item()


@torch.no_grad()
def statement_distances(backbone: Backbone) -> dict[str, float]:
    """Return by detail the distance, 1 - cosine, of the two statements of an MMVP-VLM pair.

    The distance is the text tower's. It is the mean over all classes and all pairs of the detail's
    values. Where it is near 0 an image's answer hangs on next to nothing, whatever the image tower
    has learnt: the benchmark cannot move there.

    Args:
        backbone: its text tower alone is used.
    """
    return {detail: _statement_distance(backbone, detail) for detail in DETAILS}


def _statement_distance(backbone: Backbone, detail: str) -> float:
    num_classes = len(SCENE_CLASSES)
    num_values = len(DETAILS[detail])
    scenes = product(range(num_classes), range(num_values))
    texts = [
        PROMPT + statement({"class": number, detail: value}, detail) for number, value in scenes
    ]
    features = torch.nn.functional.normalize(backbone.encode_text(texts), dim=-1).view(
        num_classes, num_values, -1
    )
    one, other = torch.triu_indices(num_values, num_values, offset=1)
    return (1 - (features[:, one] * features[:, other]).sum(dim=-1)).mean().item()


@torch.no_grad()
def noise_errors(diffusion: Diffusion, images: ImageSet, draws: int, seed: int) -> dict[str, float]:
    """Return the mean squared error of the UNet's prediction under three conditions.

    All else is equal. A wrong caption is the one of another image. Returns ``{"true_caption": ...,
    "empty_prompt": ..., "wrong_caption": ...}``.

    Args:
        diffusion: the model that is measured; it stays as it is.
        images: with their attributes, which give the captions.
        draws: times that every image is noised, at timesteps spread evenly over the schedule.
        seed: of the noise.
    """
    captions = encode_captions(diffusion, full_captions(images))
    conditions = {
        "true_caption": captions,
        "empty_prompt": diffusion.encode_prompts([""]).expand_as(captions),
        "wrong_caption": captions.roll(1, dims=0),
    }
    errors = _errors_by_condition(
        diffusion, images, conditions, draws, torch_generator(seed, "noise errors")
    )
    return {name: error.mean().item() for name, error in errors.items()}


@torch.no_grad()
def detail_errors(
    diffusion: Diffusion, images: ImageSet, draws: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return how much the UNet's error rises if the full caption names another value.

    The rise is given by detail, and for the class. All else being equal (image, noise, timestep,
    the other words), a model that tells the detail does worse with the wrong word; one that does
    not hear it has the same error to the last bit. What it cannot tell, no loss can teach.

    Args:
        diffusion: the model that is measured; it stays as it is.
        images: with their attributes; at least two.
        draws: times that every image is noised, at timesteps spread evenly over the schedule.
        seed: of the noise, and of the values that take the true ones' place, each drawn evenly from
            the others.

    Returns:
        By attribute: ``rise``, the mean over images of the rise of the mean squared error, an
        image's draws averaged first; ``standard_error`` of that mean; and whether the detail is
        ``known``, that is, whether the rise is above three standard errors.
    """
    names = ("class", *DETAILS)
    conditions = {
        name: encode_captions(diffusion, _swapped_captions(images, name, seed)) for name in names
    }
    conditions["true"] = encode_captions(diffusion, full_captions(images))
    errors = _errors_by_condition(
        diffusion, images, conditions, draws, torch_generator(seed, "detail errors", "noise")
    )
    return {name: _rise(errors[name] - errors["true"]) for name in names}


def _rise(differences: torch.Tensor) -> dict[str, Any]:
    rise = differences.mean().item()
    standard_error = (differences.std() / len(differences) ** 0.5).item()
    return {
        "rise": rise,
        "standard_error": standard_error,
        "known": rise > _NUM_STANDARD_ERRORS * standard_error,
    }


def _swapped_captions(images: ImageSet, name: str, seed: int) -> list[str]:
    """Return full captions in which the attribute ``name`` has another value than the image."""
    num_values = len(SCENE_CLASSES if name == "class" else DETAILS[name])
    shifts = numpy_generator(seed, "detail errors", "other value", name).integers(
        1, num_values, len(images)
    )
    return [
        caption(attributes | {name: (attributes[name] + int(shift)) % num_values})
        for attributes, shift in zip(images.attributes, shifts, strict=True)
    ]


def _errors_by_condition(
    diffusion: Diffusion,
    images: ImageSet,
    conditions: Mapping[str, torch.Tensor],
    draws: int,
    generator: torch.Generator,
) -> dict[str, torch.Tensor]:
    """Return each image's mean squared error over its draws, (N,) float64, by condition.

    Args:
        conditions: hidden states of a caption for each image, (N, T, m); all see the same noise and
            timesteps.
    """
    batches = batched(len(images), _BATCH_SIZE)
    latents = diffusion.scale_latents(
        torch.cat([diffusion.encode_moments(images.pixels(i))[0] for i in batches])
    )
    totals = {name: torch.zeros(len(images), dtype=torch.float64) for name in conditions}
    for draw in show_progress(range(draws), desc="measuring noise errors", unit="draw"):
        noise = torch.randn(latents.shape, generator=generator)
        shares = (torch.arange(len(latents)) / len(latents) + draw / draws) % 1
        timesteps = (shares * diffusion.num_timesteps).long()
        noisy_latents = diffusion.add_noise(latents, noise, timesteps)
        target = diffusion.target(latents, noise, timesteps)
        for name, condition in conditions.items():
            for i in batches:
                noise_pred = diffusion.predict(noisy_latents[i], timesteps[i], condition[i])
                totals[name][i] += (noise_pred - target[i]).square().mean(dim=(1, 2, 3))
    return {name: total / draws for name, total in totals.items()}


def check_condition(errors: dict[str, float]) -> None:
    """Require that the UNet listens to captions.

    Its noise error with the true caption must be below that with the empty prompt, and this below
    that with a wrong caption.

    Args:
        errors: what :func:`noise_errors` returned.

    Raises:
        UserError: the order is violated.
    """
    true, empty, wrong = (
        errors[name] for name in ("true_caption", "empty_prompt", "wrong_caption")
    )
    if not true < empty < wrong:
        raise UserError(
            "the base UNet does not use its condition: noise error must rise from the true caption"
            f" ({true:.4f}) over the empty prompt ({empty:.4f}) to a wrong caption ({wrong:.4f});"
            " raise unet_steps in parameters_pretraining.yml"
        )


def check_details(
    details: Mapping[str, Mapping[str, Any]], min_known_details: int, unet_steps: int
) -> None:
    """Require that the UNet tells enough of the details; the class is none of them.

    Args:
        details: what :func:`detail_errors` returned.
        min_known_details: how many have to be known.
        unet_steps: how long the UNet was trained, for the message.

    Raises:
        UserError: naming the details that are not known.
    """
    unknown = [detail for detail in DETAILS if not details[detail]["known"]]
    num_known = len(DETAILS) - len(unknown)
    if num_known < min_known_details:
        raise UserError(
            f"the base UNet tells {num_known} of {len(DETAILS)} details, min_known_details asks for"
            f" {min_known_details}: with another value of {', '.join(unknown)} in the caption its"
            f" noise error does not rise by three standard errors; raise unet_steps {unet_steps} in"
            " parameters_pretraining.yml"
        )
