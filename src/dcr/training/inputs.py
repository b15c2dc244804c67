"""What a training job reads must have been made for each other."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dcr.errors import UserError
from dcr.latents import LatentCache, OnlineLatents
from dcr.latents.vae import check_vae
from dcr.models.backbones import Backbone
from dcr.models.diffusion import Diffusion
from dcr.parameters.training.parts import Execution
from dcr.positives.making import PIPELINE
from dcr.positives.synthesis import shard_keys


def check_latents(
    latents: LatentCache | OnlineLatents, backbone: Backbone, diffusion: Diffusion
) -> None:
    """Refuse latents that were made for other models than those at hand.

    Args:
        latents: samples to train on; their settings tell what they were made for.
        backbone: whose image size, in pixels, the crops must have.
        diffusion: whose VAE the moments must be of.

    Raises:
        UserError: crops or moments are of another model.
    """
    check_vae(latents, diffusion)
    if latents.settings["image_size"] != backbone.image_size:
        raise UserError(
            f"{latents.folder} holds crops of {latents.settings['image_size']} px, but"
            f" {backbone.source} takes {backbone.image_size} px; make them again with `kedro run"
            " --pipelines latents`"
        )


def check_device(execution: Execution, device: torch.device) -> None:
    """Refuse an ``execution`` that the ``device`` of training does not know.

    Raises:
        UserError: CUDA graphs are asked for elsewhere than on CUDA.
    """
    if execution.cuda_graphs and device.type != "cuda":
        raise UserError(
            "training.execution.cuda_graphs needs a CUDA device, and training computes on"
            f" {device}: set it to false, or device in globals.yml to cuda"
        )


def check_mixture(latents: LatentCache | OnlineLatents, weights: Mapping[str, float]) -> None:
    """Refuse latents that were planned for other sources or weights than the recipe's.

    Args:
        latents: samples to train on, with their sources.
        weights: by source, how often the recipe draws from it.

    Raises:
        UserError: they differ.
    """
    if latents.weights != dict(weights):
        raise UserError(
            f"{latents.folder} is of sources {_tell(latents.weights)}, the recipe names"
            f" {_tell(weights)}; run `kedro run --pipelines validation,latents`, which encodes only"
            " what is new"
        )


def _tell(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ({weight:g})" for name, weight in sorted(weights.items()))


def check_candidates(latents: LatentCache | OnlineLatents, candidates: LatentCache) -> None:
    """Refuse positives that were made of other images, or of other latents of them.

    Args:
        latents: samples to train on.
        candidates: positives made of them by the pipeline ``synthesis``.

    Raises:
        UserError: they are not of these samples.
    """
    if isinstance(latents, LatentCache):
        belong = candidates.shard_keys() == shard_keys(latents, candidates.settings)
    else:  # they were made from a cache, of which there is none now
        belong = candidates.content_hash() == latents.content_hash()
    if not belong:
        raise UserError(
            f"{candidates.folder} holds positives of other images or latents; make them again with "
            f"`kedro run --pipelines {PIPELINE}`"
        )
