"""The DCR loss: InfoNCE over cosine similarities of predicted noise (arXiv 2603.04803).

Notation: B images in a batch, R rows (anchors) of the B x B grid of predictions, C x H x W a
latent's shape. ``predictions[i, k]`` is the UNet's prediction for image i's noisy latent under
image k's condition. Row i uses predictions of row i alone, so the loss and its gradient can be
computed row by row.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from dcr.losses.infonce import infonce
from dcr.losses.numerics import unit_vectors


def dcr_loss(
    predictions: torch.Tensor,
    view_predictions: torch.Tensor,
    targets: torch.Tensor,
    temperature: float = 0.1,
) -> torch.Tensor:
    """Return the DCR loss of a batch, the mean over its anchors.

    The anchor of row i is ``predictions[i, i]``; its positives are the prediction under the
    augmented view's condition and the target; its negatives are ``predictions[i, k]`` for k != i.
    With two positives in the denominator the floor is log 2; with all similarities equal the loss
    is log(B + 1).

    Args:
        predictions: the whole grid, (B, B, C, H, W).
        view_predictions: under the condition of image i's augmented view, (B, C, H, W).
        targets: what the UNet was trained to predict (noise or velocity), (B, C, H, W).
        temperature: tau > 0; the published value is 0.1.

    Returns:
        A scalar, at least float32.

    Raises:
        ValueError: the shapes do not fit together, or temperature is not positive.
    """
    batch = predictions.shape[0]
    if predictions.ndim < 3 or predictions.shape[1] != batch:
        raise ValueError(f"predictions must have shape (B, B, ...), got {tuple(predictions.shape)}")
    rows = torch.arange(batch, device=predictions.device)
    return dcr_loss_rows(predictions, view_predictions, targets, rows, temperature).mean()


def dcr_loss_rows(
    predictions: torch.Tensor,
    view_predictions: torch.Tensor,
    targets: torch.Tensor,
    rows: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Return the DCR loss of some rows of the grid, (R,).

    Args:
        predictions, view_predictions, targets, rows: see `dcr_similarities`.
        temperature: tau > 0.
    """
    return infonce(*dcr_similarities(predictions, view_predictions, targets, rows), temperature)


def dcr_similarities(
    predictions: torch.Tensor,
    view_predictions: torch.Tensor,
    targets: torch.Tensor,
    rows: torch.Tensor,
    dtype: torch.dtype | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a signal contrasts in some rows of the grid.

    Args:
        predictions: rows of the grid, (R, B, C, H, W), or the columns of it that each row is
            contrasted with.
        view_predictions: of the rows under the condition of an augmented view, (R, C, H, W), or of
            V views, (R, V, C, H, W).
        targets: of the rows, (R, C, H, W).
        rows: column of each row's anchor, which is the row's index in the batch, (R,), integers in
            [0, B).
        dtype: that they are computed in; by default at least float32.

    Returns:
        Cosine similarities of the anchors: to the positives, (R, V + 1), the target last; and to
        all predictions of the row, (R, B), with -inf at the anchor itself.

    Raises:
        ValueError: the shapes do not fit together.
    """
    expected = (predictions.shape[0], *predictions.shape[2:])
    if tuple(view_predictions.shape) != expected:
        several = view_predictions.ndim == predictions.ndim
        if not several or (view_predictions.shape[0], *view_predictions.shape[2:]) != expected:
            raise ValueError(
                f"view_predictions must have shape {expected}, got {tuple(view_predictions.shape)}"
            )
    if tuple(targets.shape) != expected:
        raise ValueError(f"targets must have shape {expected}, got {tuple(targets.shape)}")
    views = (
        [view_predictions]
        if view_predictions.ndim == targets.ndim
        else view_predictions.unbind(dim=1)
    )
    grid = unit_vectors(predictions, 2, dtype)
    positions = torch.arange(len(rows), device=rows.device)
    anchors = grid[positions, rows]
    positives = torch.stack(
        [(anchors * unit_vectors(p, 1, dtype)).sum(-1) for p in (*views, targets)], dim=1
    )
    negatives = torch.einsum("rd,rbd->rb", anchors, grid)
    itself = F.one_hot(rows, grid.shape[1]).bool()
    return positives, negatives.masked_fill(itself, -torch.inf)
