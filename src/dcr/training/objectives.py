"""The three methods: each computes its loss on a batch and leaves gradients in the model.

The UNet's graph is the large one, so predictions are walked in chunks: each chunk's loss is sent back at once as
far as the conditions, which are leaves there, and the tower and projector see one backward at the end. For DCR
this is exact because row i of the loss uses only predictions of row i.

Notation: B batch, R rows in a chunk, m condition width, C x h x w latent shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from dcr.losses.dcr import dcr_loss_rows
from dcr.losses.features import feature_infonce
from dcr.losses.numerics import at_least_float32
from dcr.training.data import Batch
from dcr.training.model import ConditionModel

Predict = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy_latents (N, C, h, w), timesteps (N,), projections (N, m)) -> predictions (N, C, h, w)."""

Backward = Callable[[torch.Tensor], None]
"""Sends a scalar back; the trainer's own, which scales in fp16."""


@dataclass(frozen=True)
class ObjectiveOptions:
    """Numbers that the methods share; see conf/base/parameters_training.yml."""

    temperature: float
    rows_per_chunk: int
    contrast_weight: float
    reconstruction_weight: float


def dcr_objective(
    model: ConditionModel, predict: Predict, batch: Batch, options: ObjectiveOptions, backward: Backward
) -> dict[str, float]:
    """The DCR loss, row by row (arXiv 2603.04803)."""
    _, projections = model(torch.cat([batch.pixels, batch.view_pixels]))
    leaf = projections.detach().requires_grad_()
    size, total = len(batch.pixels), 0.0
    for rows in torch.arange(size, device=leaf.device).split(options.rows_per_chunk):
        predictions = _predict_rows(predict, batch, rows, *leaf.chunk(2))
        losses = dcr_loss_rows(predictions[:, :-1], predictions[:, -1], batch.targets[rows], rows, options.temperature)
        loss = losses.sum() / size
        backward(loss)
        total += loss.item()
    projections.backward(leaf.grad)
    return {"loss": total}


def reconstruction_objective(
    model: ConditionModel, predict: Predict, batch: Batch, options: ObjectiveOptions, backward: Backward
) -> dict[str, float]:
    """Mean squared error between prediction and target, as DIVA and GenHancer minimise."""
    projections = model(batch.pixels)[1]
    leaf = projections.detach().requires_grad_()
    total = _reconstruct(predict, batch, leaf, options.rows_per_chunk, 1.0, backward)
    projections.backward(leaf.grad)
    return {"loss": total}


def naive_objective(
    model: ConditionModel, predict: Predict, batch: Batch, options: ObjectiveOptions, backward: Backward
) -> dict[str, float]:
    """lambda_con * InfoNCE between image features of the two views + lambda_rec * reconstruction."""
    features, projections = model(torch.cat([batch.pixels, batch.view_pixels]))
    feature_leaf, leaf = (t.detach().requires_grad_() for t in (features, projections))
    own = leaf[: len(batch.pixels)]
    reconstruction = _reconstruct(predict, batch, own, options.rows_per_chunk, options.reconstruction_weight, backward)
    contrast = options.contrast_weight * feature_infonce(*feature_leaf.chunk(2), options.temperature)
    backward(contrast)
    torch.autograd.backward([features, projections], [feature_leaf.grad, leaf.grad])
    return {
        "loss": reconstruction + contrast.item(),
        "contrast": contrast.item(),
        "reconstruction": reconstruction,
    }


OBJECTIVES = {"dcr": dcr_objective, "reconstruction": reconstruction_objective, "naive": naive_objective}


def _predict_rows(
    predict: Predict,
    batch: Batch,
    rows: torch.Tensor,
    projections: torch.Tensor,
    view_projections: torch.Tensor,
) -> torch.Tensor:
    """Return rows of the grid with the view's prediction as last column, (R, B + 1, C, h, w)."""
    columns = len(projections) + 1
    conditions = torch.cat([projections.expand(len(rows), -1, -1), view_projections[rows][:, None]], dim=1)
    noisy = batch.noisy_latents[rows].repeat_interleave(columns, dim=0)
    timesteps = batch.timesteps[rows].repeat_interleave(columns)
    return predict(noisy, timesteps, conditions.flatten(0, 1)).unflatten(0, (len(rows), columns))


def _reconstruct(
    predict: Predict,
    batch: Batch,
    projections: torch.Tensor,
    rows_per_chunk: int,
    weight: float,
    backward: Backward,
) -> float:
    """Send the weighted mean squared error back into ``projections``, in chunks as large as DCR's; return it."""
    size, total = len(projections), 0.0
    for rows in torch.arange(size, device=projections.device).split(rows_per_chunk * (size + 1)):
        predictions = predict(batch.noisy_latents[rows], batch.timesteps[rows], projections[rows])
        loss = weight * F.mse_loss(at_least_float32(predictions), batch.targets[rows]) * len(rows) / size
        backward(loss)
        total += loss.item()
    return total
