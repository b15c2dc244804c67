"""Diffusion Contrastive Reconstruction: the contrast of predicted noise, row by row.

Source: arXiv 2603.04803.

Row i of the loss uses only predictions of row i, so that a row's graph can be sent back and
forgotten before the next row is predicted: the gradients are those of the whole grid, in the memory
of one row.
"""

from __future__ import annotations

from functools import partial

import torch

from dcr.losses.dcr import dcr_similarities
from dcr.losses.diagnostics import Loss, effective_negatives, slopes, target_gradient_share
from dcr.losses.infonce import infonce, published_infonce
from dcr.positives.neighbours import Resampling, resample, resampled_losses
from dcr.training.batches import Batch
from dcr.training.contrast import measure_features
from dcr.training.distributed.columns import Columns
from dcr.training.objectives.base import (
    Objective,
    by_source,
    noise_errors,
    send_back,
    sum_up,
)

Parts = dict[str, torch.Tensor]
"""Scalars by name."""


class DcrObjective(Objective):
    """The DCR loss, with a share of plain noise error where that is asked for."""

    def step(self, batch: Batch, rows_per_chunk: int) -> dict[str, float]:
        """Add a ``batch``'s gradients, ``rows_per_chunk`` rows at a time; see `Objective.step`."""
        size = len(batch.pixels)

        # Encode images and views in one pass. Rows gather their gradients in leaves: `columns` and
        # `views`.
        pixels = torch.cat([batch.pixels, batch.view_pixels])
        features, projections = self.precision.encode(self.model, pixels)
        columns = Columns(projections[:size], self.contrast.gathers, self.processes)
        views = projections[size:].detach().unflatten(0, (-1, size)).requires_grad_()
        resampling = self._resample(batch, columns)

        # Predict some rows of the grid, contrast them, and send them back before the next ones are
        # predicted.
        chunks = []
        chunk = size if self.contrast.whole_batch else rows_per_chunk
        for rows in torch.arange(size, device=projections.device).split(chunk):
            grid, anchors, of_views = self._predict_rows(batch, rows, columns, views)
            targets = batch.targets[rows]
            losses, parts, similarities = self._contrast(
                grid, anchors, of_views, targets, len(columns), resampling.rows(rows)
            )
            if self.loss.reconstruction_share:
                errors = noise_errors(
                    grid[torch.arange(len(rows), device=rows.device), anchors], targets
                )
                parts |= {"contrast": losses.mean(), "reconstruction": errors.mean()}
                losses = torch.lerp(losses, errors, self.loss.reconstruction_share)
            losses = losses if batch.weights is None else losses * batch.weights[rows]
            loss = losses.sum() / size
            self.precision.backward(loss)
            shares = {name: value.detach() * (len(rows) / size) for name, value in parts.items()}
            if batch.sources is not None:
                shares |= by_source(batch, rows, {"loss": losses, **_of_rows(*similarities)})
            chunks.append({"loss": loss.detach(), **shares})

        # One backward through projector and tower, of all that was gathered.
        pull, feature_gradient = self.pull_to_base(features, batch)
        assert views.grad is not None  # every row was sent back
        projection_gradient = torch.cat([columns.own_gradient(), views.grad.flatten(0, 1)])
        send_back((features, feature_gradient), (projections, projection_gradient))
        sums, once = sum_up(chunks, pull | measure_features(features, size, self.contrast))
        return {**sums, **once, "loss": sums["loss"] + sum(once[name] for name in pull)}

    def _resample(self, batch: Batch, columns: Columns) -> Resampling:
        """Return what the frozen CLIP makes of this process's rows; nothing if not asked."""
        if self.contrast.resampler is None:
            return Resampling()
        gather = self.processes.all_gather if self.contrast.gathers else torch.Tensor.detach
        assert batch.clip_features is not None  # the step asks the base where there is a resampler
        images, own_views = batch.clip_features
        return resample(images, own_views, columns.first, gather, self.contrast.resampler)

    def _predict_rows(
        self, batch: Batch, rows: torch.Tensor, columns: Columns, views: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return rows of the grid, their anchors' places, and their views' predictions.

        The rows are (R, K, C, h, w), the places (R,). K is every image of the batch; where
        negatives are sampled or have no gradient, the anchor comes first and then its negatives.

        Args:
            batch: what the step sees.
            rows: places in this process's batch, (R,).
            columns: conditions of all images that a row is contrasted with.
            views: conditions of all its views, (V, B, m).
        """
        inputs = (batch.noisy_latents[rows], batch.timesteps[rows])
        anchors = rows + columns.first
        own_views = views[:, rows].transpose(0, 1)
        if batch.negatives is None and self.loss.negatives_gradient:
            predictions = self.predict(
                *inputs, torch.cat([columns.for_every(rows), own_views], dim=1)
            )
            return predictions[:, : len(columns)], anchors, predictions[:, len(columns) :]
        offsets = None if batch.negatives is None else batch.negatives[rows]
        negatives = columns.leaf[columns.others(anchors, offsets)]
        with_gradient = [columns.leaf[anchors][:, None], own_views]
        if self.loss.negatives_gradient:
            predictions = self.predict(*inputs, torch.cat([*with_gradient, negatives], dim=1))
        else:
            with torch.no_grad():
                of_negatives = self.predict(*inputs, negatives)
            predictions = torch.cat(
                [self.predict(*inputs, torch.cat(with_gradient, dim=1)), of_negatives], dim=1
            )
        own, of_views, others = predictions.split([1, len(views), negatives.shape[1]], dim=1)
        return torch.cat([own, others], dim=1), torch.zeros_like(rows), of_views

    def _contrast(
        self,
        grid: torch.Tensor,
        anchors: torch.Tensor,
        of_views: torch.Tensor,
        targets: torch.Tensor,
        num_columns: int,
        resampling: Resampling,
    ) -> tuple[torch.Tensor, Parts, tuple[torch.Tensor, torch.Tensor]]:
        """Return the contrastive loss of each row, (R,), means of what it is made of, similarities.

        Args:
            grid, anchors, of_views: as `_predict_rows` returns them.
            targets: of these rows, (R, C, h, w).
            num_columns: images that a row is contrasted with, of which K may be a sample.
            resampling: of these rows.
        """
        dtype = torch.bfloat16 if self.contrast.is_published else None
        positives, negatives = dcr_similarities(grid, of_views, targets, anchors, dtype)
        parts = {
            "similarity_view": positives[:, :-1].detach().mean(),
            "similarity_target": positives[:, -1].detach().mean(),
            "similarity_negative": negatives.detach()
            .masked_fill(negatives.isinf(), torch.nan)
            .nanmean(),
        }
        if self.contrast.is_published:
            losses = published_infonce(positives, negatives, self.loss.temperature)
            return losses, parts, (positives, negatives)
        similarities = positives, negatives
        positives, pull = self._split_made(positives)
        loss = self._loss(positives.shape[1], negatives.shape[1] - 1, num_columns, resampling)
        measures = _measure(positives, negatives, loss) if self.contrast.diagnostics else {}
        losses = loss(positives, negatives)
        return losses if pull is None else losses + pull, parts | measures, similarities

    def _split_made(self, positives: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the positives of the contrast, and the pull towards the made one, (R,).

        The latter stays out of the contrast.
        """
        weight = self.contrast.synthetic_weight
        if not weight:
            return positives, None
        views, made, target = positives.split([positives.shape[1] - 2, 1, 1], dim=1)
        return torch.cat([views, target], dim=1), weight * (2 - 2 * made[:, 0])

    def _loss(
        self, num_positives: int, num_negatives: int, num_columns: int, resampling: Resampling
    ) -> Loss:
        """Return the loss of similarities to positives and to columns.

        The target is the last positive; columns are -inf at the anchor.

        It is the recipe's signal, or DCR's own contrast, in which the sum over negatives is scaled
        up where they are a sample.
        """
        contrast = self.contrast
        temperature = self.loss.temperature
        if contrast.signal is not None or contrast.resampler is not None:
            signal = contrast.of_similarities(temperature)
            return partial(resampled_losses, signal, resampling=resampling, num_shared=1)
        num_views = num_positives - 1
        of_target = self.loss.target_weight
        weights = [(1 - of_target) / num_views] * num_views + [of_target]
        factor = (num_columns - 1) / num_negatives if num_negatives else 1.0
        alike = len(set(weights)) == 1
        return partial(
            infonce,
            temperature=temperature,
            weights=None if alike else weights,
            negatives_factor=factor,
        )


def _of_rows(positives: torch.Tensor, negatives: torch.Tensor) -> Parts:
    """Return each row's mean similarities, (R,), by name.

    Args:
        positives: (R, V + 1), the target last.
        negatives: (R, K), -inf at the anchor.
    """
    return {
        "similarity_view": positives[:, :-1].detach().mean(dim=1),
        "similarity_target": positives[:, -1].detach(),
        "similarity_negative": negatives.detach()
        .masked_fill(negatives.isinf(), torch.nan)
        .nanmean(dim=1),
    }


def _measure(positives: torch.Tensor, negatives: torch.Tensor, loss: Loss) -> Parts:
    """Return the diagnostics of a contrast of rows, see `dcr.losses.diagnostics`."""
    pulls, pushes = slopes(positives, negatives, loss)
    return {
        "effective_negatives": effective_negatives(pushes).mean(),
        "target_gradient_share": target_gradient_share(positives, pulls).mean(),
    }
