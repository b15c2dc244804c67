"""What a recipe's runs leave on disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dcr.latents.plan import sample_bytes

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL

    from dcr.parameters import LatentsParameters
    from dcr.training.runs import Run

# About, beside what tensors hold: names and places of a parameter and its AdamW state, a step's row
# in the log (a dozen numbers with their names), and the fingerprint.
_PARAMETER_BYTES = 350
_ROW_BYTES = 300
_RECORD_BYTES = 1500


def latents_bytes(
    parameters: LatentsParameters, num_images: int, image_size: int, vae: AutoencoderKL
) -> int:
    """Return about how many bytes the latent cache takes; mode ``online`` keeps none.

    Args:
        parameters: section `latents`.
        num_images: accepted ones.
        image_size: side of a crop in pixels.
        vae: that encodes them; its configuration alone is read.
    """
    if parameters.mode == "online":
        return 0
    return num_images * sample_bytes(parameters.options(image_size), vae)


def features_bytes(width: int) -> int:
    """Return the bytes that a crop's kept features take, float32 of ``width`` numbers."""
    return 4 * width


def checkpoint_bytes(trainable: Iterable[torch.Tensor], num_steps: int) -> int:
    """Return about how many bytes a checkpoint takes: weights, AdamW's state, one row a step.

    Args:
        trainable: whole parameters that train, float32.
        num_steps: done when it is saved.
    """
    tensors = sum(12 * p.numel() + _PARAMETER_BYTES for p in trainable)
    return tensors + _RECORD_BYTES + _ROW_BYTES * num_steps


def checkpoints_bytes(run: Run, trainable: Iterable[torch.Tensor]) -> int:
    """Return about how many bytes the checkpoints of ``run`` take that are kept at its end.

    Args:
        run: whose newest ``total_limit`` checkpoints are kept.
        trainable: see `checkpoint_bytes`.
    """
    kept = run.parameters.checkpoints
    number = min(kept.total_limit, -(-run.max_train_steps // kept.every_steps))
    return number * checkpoint_bytes(trainable, run.max_train_steps)
