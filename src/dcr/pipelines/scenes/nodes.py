"""Nodes of pipeline `scenes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.parameters import PretrainingParameters, ScenesParameters

if TYPE_CHECKING:
    from dcr.backbones import Backbone
    from dcr.diffusion import Diffusion

Writer = Callable[[Path], None]


def draw_shards(parameters: ScenesParameters) -> Writer:
    """Draw the training images, one shard at a time."""
    from dcr.scenes import sets

    return lambda folder: sets.write_shards(folder, parameters)


def draw_evaluation_sets(parameters: ScenesParameters) -> tuple[Writer, Writer, Writer]:
    """Draw the MMVP-VLM, classification and retrieval sets, from images that the shards do not hold."""
    from dcr.scenes import sets

    return (
        lambda folder: sets.write_mmvp(folder, parameters),
        lambda folder: sets.write_classification(folder, parameters),
        lambda folder: sets.write_retrieval(folder, parameters),
    )


def train_base_clip(
    parameters: PretrainingParameters, shards: list[str], previous: dict[str, Any], hashes: dict[str, str | None]
) -> Iterator[Backbone]:
    """Train the small CLIP on the shards' captions; yield nothing, so that nothing is saved, if it is there already."""
    from dcr.scenes.pretrain_clip import train_clip
    from dcr.scenes.pretrain_data import load_images, split_images
    from dcr.scenes.pretrain_record import fingerprint, is_current

    if not is_current(previous, fingerprint(parameters, shards), hashes):
        training, _ = split_images(load_images(shards, parameters.image_size), parameters.num_held_out)
        yield train_clip(training, parameters)


def train_base_diffusion(
    parameters: PretrainingParameters,
    shards: list[str],
    backbone: Backbone,
    previous: dict[str, Any],
    hashes: dict[str, str | None],
) -> Iterator[Diffusion]:
    """Train the small VAE and UNet, with the CLIP's text tower as text encoder; yield nothing if they are there."""
    from dcr.scenes.pretrain_clip import text_side
    from dcr.scenes.pretrain_data import load_images, split_images
    from dcr.scenes.pretrain_record import fingerprint, is_current
    from dcr.scenes.pretrain_unet import train_unet
    from dcr.scenes.pretrain_vae import train_vae

    if not is_current(previous, fingerprint(parameters, shards), hashes):
        training, _ = split_images(load_images(shards, parameters.image_size), parameters.num_held_out)
        vae = train_vae(training, parameters)
        yield train_unet(training, vae, *text_side(backbone.to("cpu")), parameters)


def measure_base_models(
    parameters: PretrainingParameters,
    shards: list[str],
    backbone: Backbone,
    diffusion: Diffusion,
    previous: dict[str, Any],
    hashes: dict[str, str | None],
) -> dict[str, Any]:
    """Measure the base models on held-out images, require that the UNet uses its condition, and record all of it."""
    from dcr.files import weights_hash
    from dcr.scenes import pretrain_checks as checks
    from dcr.scenes.pretrain_data import load_images, split_images
    from dcr.scenes.pretrain_record import fingerprint, is_current

    made_from = fingerprint(parameters, shards)
    models = {"backbone": backbone.model, "vae": diffusion.vae, "unet": diffusion.unet}
    weights = {name: weights_hash(model) for name, model in models.items()}
    if is_current(previous, made_from, hashes) and previous.get("weights") == weights:
        return previous
    _, held_out = split_images(load_images(shards, parameters.image_size), parameters.num_held_out)
    backbone, diffusion = backbone.to("cpu"), diffusion.to("cpu")  # as they were trained
    errors = checks.noise_errors(diffusion, held_out, parameters.check_draws, parameters.seed)
    if parameters.check_condition:
        checks.check_condition(errors)
    return {
        "fingerprint": made_from,
        "sha256": hashes,
        "weights": weights,
        "clip": {"zero_shot_acc1": checks.zero_shot_accuracy(backbone, held_out)},
        "vae": {"psnr": checks.reconstruction_psnr(diffusion.vae, held_out)},
        "unet": errors,
    }
