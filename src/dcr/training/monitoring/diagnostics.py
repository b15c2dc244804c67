"""Whether a run's two forces agree: gradients of contrast and of plain noise error on one batch.

They are taken apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from dcr.training.batches import Batch
from dcr.training.distributed.sharding import full_tensor

if TYPE_CHECKING:
    from dcr.training.step import MicroStep

NUM_SAMPLES = 8
"""Of a batch that diagnostics look at: a grid of them costs little beside a step, also in stage
1.
"""


def diagnose(
    micro_step: MicroStep,
    trainable: dict[str, nn.Parameter],
    batch: Batch,
    number: int,
    rows_per_chunk: int,
) -> dict[str, float]:
    """Return norms and cosine of the two gradients, and mean similarities of anchors.

    These are to view, target and negatives. The contrast is the method's own: of image features for
    ``naive`` (which has no similarities of predictions), of predictions for all others. A negative
    cosine is the conflict that DCR is made against (arXiv 2603.04803). The model's gradients must
    be cleared, and are cleared again; nothing else changes.

    Args:
        micro_step: of the run.
        trainable: the parameters that train, by name.
        batch: that the step saw.
        number: of the micro-step, which decides dropout in both gradients alike.
        rows_per_chunk: as the step takes it.
    """
    batch = _first_samples(batch, NUM_SAMPLES)
    alone = {
        "contrast_weight": 1.0,
        "reconstruction_weight": 0.0,
        "reconstruction_share": 0.0,
        "target_weight": 0.5,
    }
    loss = micro_step.run.loss.model_copy(update=alone)
    contrast = "naive" if micro_step.run.objective == "naive" else "dcr"
    found = {}
    for name in (contrast, "reconstruction"):
        micro_step.seed_dropout(number)
        parts = micro_step.build_objective(name, loss, micro_step.contrast).step(
            batch, rows_per_chunk
        )
        found[name] = parts, _take_gradient(micro_step, trainable)
    parts, of_contrast = found[contrast]
    _, of_error = found["reconstruction"]
    return {
        "conflict_cosine": F.cosine_similarity(of_contrast, of_error, dim=0).item(),
        "contrast_grad_norm": of_contrast.norm().item(),
        "reconstruction_grad_norm": of_error.norm().item(),
        **{name: value for name, value in parts.items() if name.startswith("similarity_")},
    }


def _take_gradient(micro_step: MicroStep, trainable: dict[str, nn.Parameter]) -> torch.Tensor:
    """Return the model's gradient as one vector, the mean over all processes, and clear it."""
    micro_step.processes.mean_gradients(trainable.values())
    scale = (
        micro_step.run.stage.gradient_accumulation_steps / micro_step.precision.scaler.get_scale()
    )
    gradients = [
        full_tensor(torch.zeros_like(p) if p.grad is None else p.grad) for p in trainable.values()
    ]
    flat = torch.cat([gradient.flatten().float() for gradient in gradients]) * scale
    for parameter in trainable.values():
        parameter.grad = None
    return flat


def _first_samples(batch: Batch, count: int) -> Batch:
    """Return a batch's first samples with all their views, contrasted with each other alone."""
    size = len(batch.pixels)
    views = batch.view_pixels.unflatten(0, (-1, size))[:, :count].flatten(0, 1)
    per_sample = ("keys", "pixels", "noisy_latents", "targets", "timesteps")
    kept = {name: getattr(batch, name)[:count] for name in per_sample}
    weights = None if batch.weights is None else batch.weights[:count]
    clip = None
    if batch.clip_features is not None:
        of_images, of_views = batch.clip_features
        clip = (of_images[:count], of_views[:count])
    return Batch(
        **kept,
        view_pixels=views,
        weights=weights,
        clip_features=clip,
        signal_seed=batch.signal_seed,
    )
