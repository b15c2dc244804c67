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

from dcr.losses.dcr import dcr_similarities
from dcr.losses.features import feature_infonce
from dcr.losses.infonce import infonce, published_infonce
from dcr.losses.numerics import at_least_float32
from dcr.training.batches import Batch
from dcr.training.processes import Processes

Encode = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""pixels (B, 3, H, W) -> image features (B, d), projections (B, m)."""

Predict = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy_latents (R, C, h, w), timesteps (R,), projections (R, K, m)) -> predictions (R, K, C, h, w)."""

Backward = Callable[[torch.Tensor], None]
"""Sends a scalar back; the trainer's own, which scales in fp16."""


@dataclass(frozen=True)
class ObjectiveOptions:
    """Numbers that the methods share; see conf/base/parameters_training.yml."""

    temperature: float
    rows_per_chunk: int
    gather_negatives: bool
    contrast_weight: float
    reconstruction_weight: float
    published_loss: bool = False


def dcr_objective(
    encode: Encode,
    predict: Predict,
    batch: Batch,
    options: ObjectiveOptions,
    backward: Backward,
    processes: Processes,
) -> dict[str, float]:
    """The DCR loss, row by row (arXiv 2603.04803)."""
    _, projections = encode(torch.cat([batch.pixels, batch.view_pixels]))
    size, total = len(batch.pixels), 0.0
    columns = Columns(projections[:size], options.gather_negatives, processes)
    views = projections[size:].detach().unflatten(0, (-1, size)).requires_grad_()
    for rows in torch.arange(size, device=projections.device).split(options.rows_per_chunk):
        conditions = torch.cat([columns.leaf.expand(len(rows), -1, -1), views[:, rows].transpose(0, 1)], dim=1)
        predictions = predict(batch.noisy_latents[rows], batch.timesteps[rows], conditions)
        grid, view_predictions = predictions.split([len(columns.leaf), len(views)], dim=1)
        loss = _contrast(grid, view_predictions, batch.targets[rows], rows + columns.first, options).sum() / size
        backward(loss)
        total += loss.item()
    projections.backward(torch.cat([columns.own_gradient(), views.grad.flatten(0, 1)]))
    return {"loss": total}


def reconstruction_objective(
    encode: Encode,
    predict: Predict,
    batch: Batch,
    options: ObjectiveOptions,
    backward: Backward,
    processes: Processes,
) -> dict[str, float]:
    """Mean squared error between prediction and target, as DIVA and GenHancer minimise."""
    projections = encode(batch.pixels)[1]
    leaf = projections.detach().requires_grad_()
    total = _reconstruct(predict, batch, leaf, options.rows_per_chunk, 1.0, backward)
    projections.backward(leaf.grad)
    return {"loss": total}


def naive_objective(
    encode: Encode,
    predict: Predict,
    batch: Batch,
    options: ObjectiveOptions,
    backward: Backward,
    processes: Processes,
) -> dict[str, float]:
    """lambda_con * InfoNCE between image features of the two views + lambda_rec * reconstruction."""
    features, projections = encode(torch.cat([batch.pixels, batch.view_pixels]))
    first, second = (Columns(part, options.gather_negatives, processes) for part in features.detach().chunk(2))
    leaf = projections.detach().requires_grad_()
    own = leaf[: len(batch.pixels)]
    reconstruction = _reconstruct(predict, batch, own, options.rows_per_chunk, options.reconstruction_weight, backward)
    contrast = options.contrast_weight * feature_infonce(first.leaf, second.leaf, options.temperature)
    backward(contrast)
    feature_gradient = torch.cat([first.own_gradient(), second.own_gradient()])
    torch.autograd.backward([features, projections], [feature_gradient, leaf.grad])
    return {
        "loss": reconstruction + contrast.item(),
        "contrast": contrast.item(),
        "reconstruction": reconstruction,
    }


OBJECTIVES = {"dcr": dcr_objective, "reconstruction": reconstruction_objective, "naive": naive_objective}


class Columns:
    """What every row is contrasted with: this process's images, or those of all processes.

    Attributes:
        leaf: gathers gradients, (B, m), or (P * B, m) where the processes share their images.
        first: place of this process's first image in it.
    """

    def __init__(self, own: torch.Tensor, shared: bool, processes: Processes) -> None:
        self._processes = processes if shared else None
        self._own = processes.own(len(own)) if shared else slice(0, len(own))
        self.leaf = (processes.gather(own) if shared else own.detach()).requires_grad_()
        self.first = self._own.start

    def own_gradient(self) -> torch.Tensor:
        """Return the gradient of this process's images, summed over the processes whose rows they stand in.

        Each process's loss is a mean over its own rows; the trainer then averages the weights' gradients over the
        processes, which makes it the gradient of the mean over all rows.
        """
        gradient = self._processes.sum_(self.leaf.grad) if self._processes else self.leaf.grad
        return gradient[self._own]


def _contrast(
    grid: torch.Tensor,
    view_predictions: torch.Tensor,
    targets: torch.Tensor,
    anchors: torch.Tensor,
    options: ObjectiveOptions,
) -> torch.Tensor:
    """Return the contrastive loss of each row, (R,); arguments as in `dcr.losses.dcr.dcr_similarities`."""
    if options.published_loss:
        similarities = dcr_similarities(grid, view_predictions, targets, anchors, torch.bfloat16)
        return published_infonce(*similarities, options.temperature)
    return infonce(*dcr_similarities(grid, view_predictions, targets, anchors), options.temperature)


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
        predictions = predict(batch.noisy_latents[rows], batch.timesteps[rows], projections[rows][:, None])[:, 0]
        loss = weight * F.mse_loss(at_least_float32(predictions), batch.targets[rows]) * len(rows) / size
        backward(loss)
        total += loss.item()
    return total
