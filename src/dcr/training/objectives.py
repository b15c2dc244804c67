"""The methods: each computes its loss on a batch and leaves gradients in the model.

The UNet's graph is the large one, so predictions are walked in chunks: each chunk's loss is sent back at once as
far as the conditions, which are leaves there, and the tower and projector see one backward at the end. For DCR
this is exact because row i of the loss uses only predictions of row i.

Notation: B batch, R rows in a chunk, K columns of a row, V views of an image, N negatives, d width of image features,
m condition width, C x h x w latent shape. Where the condition is of tokens, (B, m) below is (B, tokens, m).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from dcr.losses.dcr import dcr_similarities
from dcr.losses.features import feature_infonce
from dcr.losses.infonce import published_infonce
from dcr.losses.numerics import at_least_float32
from dcr.positives.neighbours import Resampling
from dcr.training.batches import Batch
from dcr.training.columns import Columns, Predict, predict_rows
from dcr.training.contrast import (
    ContrastOptions,
    contrast_image_features,
    contrast_rows,
    measure_features,
    resample_rows,
)
from dcr.training.processes import Processes

Encode = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""pixels (B, 3, H, W) -> image features (B, d), projections (B, m)."""

Backward = Callable[[torch.Tensor], None]
"""Sends a scalar back; the trainer's own, which scales in fp16."""


@dataclass(frozen=True)
class ObjectiveOptions:
    """Numbers that the methods share; see conf/base/parameters_training.yml. The defaults are the paper's method."""

    temperature: float
    rows_per_chunk: int
    gather_negatives: bool
    contrast_weight: float
    reconstruction_weight: float
    target_weight: float = 0.5
    reconstruction_share: float = 0.0
    base_embedding_weight: float = 0.0
    pull_to: str = "base"
    negatives_gradient: bool = True
    published_loss: bool = False
    contrast: ContrastOptions = field(default_factory=ContrastOptions)

    @property
    def asks_base(self) -> bool:
        """Whether the loss asks a frozen tower beside the one that trains."""
        return self.base_embedding_weight > 0 or self.contrast.resampler is not None

    @property
    def is_plain_contrast(self) -> bool:
        """Whether DCR's loss is its contrast and nothing else."""
        return self.contrast.is_own and not (self.reconstruction_share or self.base_embedding_weight)


def dcr_objective(
    encode: Encode,
    predict: Predict,
    batch: Batch,
    options: ObjectiveOptions,
    backward: Backward,
    processes: Processes,
) -> dict[str, float]:
    """The DCR loss, row by row (arXiv 2603.04803), with a share of plain noise error where that is asked for."""
    features, projections = encode(torch.cat([batch.pixels, batch.view_pixels]))
    size, chunks = len(batch.pixels), []
    columns = Columns(projections[:size], options.gather_negatives, processes)
    views = projections[size:].detach().unflatten(0, (-1, size)).requires_grad_()
    resampling = resample_rows(batch, options.contrast, columns, options.gather_negatives, processes)
    chunk = size if options.contrast.whole_batch else options.rows_per_chunk
    for rows in torch.arange(size, device=projections.device).split(chunk):
        grid, anchors, view_predictions = predict_rows(predict, batch, rows, columns, views, options.negatives_gradient)
        losses, similarities = _contrast(
            grid, anchors, view_predictions, batch.targets[rows], len(columns), resampling.rows(rows), options
        )
        if options.reconstruction_share:
            errors = _noise_errors(grid[torch.arange(len(rows), device=rows.device), anchors], batch.targets[rows])
            similarities |= {"contrast": losses.mean(), "reconstruction": errors.mean()}
            losses = torch.lerp(losses, errors, options.reconstruction_share)
        loss = (losses if batch.weights is None else losses * batch.weights[rows]).sum() / size
        backward(loss)
        shares = {name: value.detach() * (len(rows) / size) for name, value in similarities.items()}
        chunks.append({"loss": loss.detach(), **shares})
    pull, feature_gradient = _pull_to_base(features, batch, options, backward)
    projection_gradient = torch.cat([columns.own_gradient(), views.grad.flatten(0, 1)])
    _send_back((features, feature_gradient), (projections, projection_gradient))
    parts, once = _sum_up(chunks, pull | measure_features(features, size, options.contrast))
    return {**parts, **once, "loss": parts["loss"] + sum(once[name] for name in pull)}


def reconstruction_objective(
    encode: Encode,
    predict: Predict,
    batch: Batch,
    options: ObjectiveOptions,
    backward: Backward,
    processes: Processes,
) -> dict[str, float]:
    """Mean squared error between prediction and target, as DIVA and GenHancer minimise."""
    features, projections = encode(batch.pixels)
    leaf = projections.detach().requires_grad_()
    chunks = _reconstruct(predict, batch, leaf, options.rows_per_chunk, 1.0, backward)
    pull, feature_gradient = _pull_to_base(features, batch, options, backward)
    _send_back((features, feature_gradient), (projections, leaf.grad))
    parts, pull = _sum_up(chunks, pull)
    return {**pull, "loss": parts["loss"] + sum(pull.values())}


def naive_objective(
    encode: Encode,
    predict: Predict,
    batch: Batch,
    options: ObjectiveOptions,
    backward: Backward,
    processes: Processes,
) -> dict[str, float]:
    """lambda_con * InfoNCE between image features of two views + lambda_rec * reconstruction."""
    features, projections = encode(torch.cat([batch.pixels, batch.view_pixels]))
    size, leaf = len(batch.pixels), projections.detach().requires_grad_()
    own, *views = (Columns(part, options.gather_negatives, processes) for part in features.split(size))
    chunks = _reconstruct(predict, batch, leaf[:size], options.rows_per_chunk, options.reconstruction_weight, backward)
    if options.contrast.is_own:
        terms = [feature_infonce(own.leaf, view.leaf, options.temperature) for view in views]
        contrast = options.contrast_weight * torch.stack(terms).mean()
    else:
        shared = processes if options.gather_negatives else None
        loss = contrast_image_features(own, views, batch, options.contrast, options.temperature, shared)
        contrast = options.contrast_weight * loss
    backward(contrast)
    feature_gradient = torch.cat([part.own_gradient() for part in (own, *views)])
    pull, pull_gradient = _pull_to_base(features, batch, options, backward)
    if pull_gradient is not None:
        feature_gradient = feature_gradient + pull_gradient
    _send_back((features, feature_gradient), (projections, leaf.grad))
    measures = measure_features(features, size, options.contrast)
    total, once = _sum_up(chunks, {"contrast": contrast.detach()} | pull | measures)
    parts = {"contrast": once["contrast"], "reconstruction": total["loss"], **{name: once[name] for name in pull}}
    return {"loss": sum(parts.values()), **parts, **{name: once[name] for name in measures}}


OBJECTIVES = {"dcr": dcr_objective, "reconstruction": reconstruction_objective, "naive": naive_objective}


def _contrast(
    grid: torch.Tensor,
    anchors: torch.Tensor,
    view_predictions: torch.Tensor,
    targets: torch.Tensor,
    num_columns: int,
    resampling: Resampling,
    options: ObjectiveOptions,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the contrastive loss of each row, (R,), and the mean similarities that it is made of."""
    dtype = torch.bfloat16 if options.published_loss else None
    positives, negatives = dcr_similarities(grid, view_predictions, targets, anchors, dtype)
    similarities = {
        "similarity_view": positives[:, :-1].detach().mean(),
        "similarity_target": positives[:, -1].detach().mean(),
        "similarity_negative": negatives.detach().masked_fill(negatives.isinf(), torch.nan).nanmean(),
    }
    if options.published_loss:
        return published_infonce(positives, negatives, options.temperature), similarities
    losses, measures = contrast_rows(
        positives, negatives, resampling, options.contrast, options.temperature, options.target_weight, num_columns
    )
    return losses, similarities | measures


def _reconstruct(
    predict: Predict,
    batch: Batch,
    projections: torch.Tensor,
    rows_per_chunk: int,
    weight: float,
    backward: Backward,
) -> list[dict[str, torch.Tensor]]:
    """Send the weighted mean squared error back into ``projections``, in chunks as large as DCR's; return their shares
    of it."""
    size, chunks = len(projections), []
    for rows in torch.arange(size, device=projections.device).split(rows_per_chunk * (size + 1)):
        predictions = predict(batch.noisy_latents[rows], batch.timesteps[rows], projections[rows][:, None])[:, 0]
        if batch.weights is None:
            error = F.mse_loss(at_least_float32(predictions), batch.targets[rows])
        else:
            error = (_noise_errors(predictions, batch.targets[rows]) * batch.weights[rows]).mean()
        loss = weight * error * len(rows) / size
        backward(loss)
        chunks.append({"loss": loss.detach()})
    return chunks


def _sum_up(
    chunks: list[dict[str, torch.Tensor]], once: dict[str, torch.Tensor]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the sum over the chunks of each scalar, by name, and scalars that are there once; the one wait for the
    device in a micro-step."""
    scalars = [value for part in (*chunks, once) for value in part.values()]
    values = iter(torch.stack(scalars).tolist())
    rows = [[next(values) for _ in chunk] for chunk in chunks]
    sums = {name: sum(column) for name, column in zip(chunks[0], zip(*rows, strict=True), strict=True)}
    return sums, dict(zip(once, values, strict=True))


def _noise_errors(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of each prediction, (R,), of (R, C, h, w)."""
    return F.mse_loss(at_least_float32(predictions), targets, reduction="none").flatten(1).mean(dim=1)


def _pull_to_base(
    features: torch.Tensor, batch: Batch, options: ObjectiveOptions, backward: Backward
) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
    """Send back one minus the cosine of each image's embedding and the base encoder's; return it by name, and its
    gradient in all ``features``, None where there is no pull."""
    if batch.base_features is None:
        return {}, None
    leaf = features.detach().requires_grad_()
    distances = 1 - F.cosine_similarity(leaf[: len(batch.pixels)], batch.base_features)
    loss = options.base_embedding_weight * distances.mean()
    backward(loss)
    return {"base_distance": loss.detach()}, leaf.grad


def _send_back(*pairs: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    """Send gradients back from the model's outputs, all in one pass."""
    outputs, gradients = zip(*(pair for pair in pairs if pair[1] is not None), strict=True)
    torch.autograd.backward(outputs, gradients)
