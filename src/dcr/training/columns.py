"""The images that every row of a batch is contrasted with, whichever process they belong to, and their predictions.

Notation: P processes, B batch of one process, R rows, K columns of a row, V views of an image, N negatives of a row, m
condition width, C x h x w latent shape.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from dcr.training.batches import Batch
from dcr.training.processes import Processes

Predict = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy_latents (R, C, h, w), timesteps (R,), projections (R, K, m)) -> predictions (R, K, C, h, w)."""


class Columns:
    """What every row is contrasted with: this process's images, or those of all processes.

    Attributes:
        leaf: gathers gradients, (B, ...), or (P * B, ...) where the processes share their images.
        first: place of this process's first image in it.
    """

    def __init__(self, own: torch.Tensor, shared: bool, processes: Processes) -> None:
        self._processes = processes if shared else None
        self._own = processes.own(len(own)) if shared else slice(0, len(own))
        self.leaf = (processes.gather(own) if shared else own.detach()).requires_grad_()
        self.first = self._own.start

    def __len__(self) -> int:
        return len(self.leaf)

    def for_every(self, rows: torch.Tensor) -> torch.Tensor:
        """Return all columns for each of the rows, (R, B, ...)."""
        return self.leaf.expand(len(rows), *self.leaf.shape)

    def others(self, anchors: torch.Tensor, offsets: torch.Tensor | None) -> torch.Tensor:
        """Return the places of each row's negatives, (R, N).

        Args:
            anchors: each row's own place, (R,).
            offsets: of the negatives from it, (R, N) in [1, number of columns); None for all of them.
        """
        if offsets is None:
            offsets = torch.arange(1, len(self), device=anchors.device)[None]
        return (anchors[:, None] + offsets) % len(self)

    def own_gradient(self) -> torch.Tensor:
        """Return the gradient of this process's images, summed over the processes whose rows they stand in.

        Each process's loss is a mean over its own rows; the trainer then averages the weights' gradients over the
        processes, which makes it the gradient of the mean over all rows.
        """
        gradient = self._processes.sum_(self.leaf.grad) if self._processes else self.leaf.grad
        return gradient[self._own]


def predict_rows(
    predict: Predict,
    batch: Batch,
    rows: torch.Tensor,
    columns: Columns,
    views: torch.Tensor,
    negatives_gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return rows of the grid, (R, K, C, h, w), where each row's anchor stands, (R,), and its views' predictions.

    K is every image of the batch; where negatives are sampled or have no gradient, the anchor comes first and then
    its negatives.

    Args:
        rows: places in this process's batch, (R,). views: conditions of all its views, (V, B, m).
        negatives_gradient: whether any flows through the negatives.
    """
    inputs, anchors = (batch.noisy_latents[rows], batch.timesteps[rows]), rows + columns.first
    own_views = views[:, rows].transpose(0, 1)
    if batch.negatives is None and negatives_gradient:
        predictions = predict(*inputs, torch.cat([columns.for_every(rows), own_views], dim=1))
        return predictions[:, : len(columns)], anchors, predictions[:, len(columns) :]
    offsets = None if batch.negatives is None else batch.negatives[rows]
    negatives = columns.leaf[columns.others(anchors, offsets)]
    with_gradient = [columns.leaf[anchors][:, None], own_views]
    if negatives_gradient:
        predictions = predict(*inputs, torch.cat([*with_gradient, negatives], dim=1))
    else:
        with torch.no_grad():
            of_negatives = predict(*inputs, negatives)
        predictions = torch.cat([predict(*inputs, torch.cat(with_gradient, dim=1)), of_negatives], dim=1)
    own, view_predictions, others = predictions.split([1, len(views), negatives.shape[1]], dim=1)
    return torch.cat([own, others], dim=1), torch.zeros_like(rows), view_predictions
