"""The naive combination that DCR is made against: image features' contrast and reconstruction."""

from __future__ import annotations

import torch

from dcr.losses.feature_signal import FeatureSignal
from dcr.losses.features import contrast_features, feature_infonce, view_similarities
from dcr.losses.numerics import unit_vectors
from dcr.positives.neighbours import resample, resampled_losses
from dcr.training.batches import Batch
from dcr.training.contrast import measure_features
from dcr.training.distributed.columns import Columns
from dcr.training.objectives.base import Objective, send_back, sum_up


class NaiveObjective(Objective):
    """InfoNCE between image features of two views, plus the noise error.

    It is ``contrast_weight`` * InfoNCE + ``reconstruction_weight`` * noise error.
    """

    def step(self, batch: Batch, rows_per_chunk: int) -> dict[str, float]:
        """Add a ``batch``'s gradients, its noise error by ``rows_per_chunk``.

        See `Objective.step`.
        """
        pixels = torch.cat([batch.pixels, batch.view_pixels])
        features, projections = self.precision.encode(self.model, pixels)
        size = len(batch.pixels)
        leaf = projections.detach().requires_grad_()
        chunks = self.reconstruct(
            batch, leaf[:size], rows_per_chunk, self.loss.reconstruction_weight
        )
        contrast, feature_gradient = self._contrast(features, batch)
        pull, pull_gradient = self.pull_to_base(features, batch)
        if pull_gradient is not None:
            feature_gradient = feature_gradient + pull_gradient
        send_back((features, feature_gradient), (projections, leaf.grad))
        measures = measure_features(features, size, self.contrast)
        sums, once = sum_up(chunks, {"contrast": contrast} | pull | measures)
        parts = {
            "contrast": once["contrast"],
            "reconstruction": sums["loss"],
            **{name: once[name] for name in pull},
        }
        del sums["loss"]
        found = {"loss": sum(parts.values()), **parts, **{name: once[name] for name in measures}}
        return found | sums

    def _contrast(self, features: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Send the weighted contrast of all features, ((1 + V) * B, d), back.

        It is returned with its gradient in them.
        """
        columns = [
            Columns(part, self.contrast.gathers, self.processes)
            for part in features.split(len(batch.pixels))
        ]
        own, *views = (part.leaf for part in columns)
        if self.contrast.is_own:
            terms = [feature_infonce(own, view, self.loss.temperature) for view in views]
            contrast = self.loss.contrast_weight * torch.stack(terms).mean()
        else:
            contrast = self.loss.contrast_weight * self._other_contrast(own, views, batch)
        self.precision.backward(contrast)
        return contrast.detach(), torch.cat([part.own_gradient() for part in columns])

    def _other_contrast(
        self, own: torch.Tensor, views: list[torch.Tensor], batch: Batch
    ) -> torch.Tensor:
        """Return the loss by the recipe's signal and source of positives, a scalar.

        Args:
            own: of all images that are contrasted, (B, d), or (P * B, d) where P processes share
                theirs.
            views: of each number, as ``own``; a made positive is the last.
            batch: what else the step sees.
        """
        contrast = self.contrast
        if contrast.synthetic_weight:
            *views, made = views
        leaves = torch.stack([own, *views])
        if contrast.resampler is not None:
            loss = self._resampled(leaves, batch)
        elif isinstance(contrast.signal, FeatureSignal):
            loss = contrast.signal(leaves, torch.Generator().manual_seed(batch.signal_seed)).mean()
        else:
            loss = contrast_features(leaves, contrast.of_similarities(self.loss.temperature)).mean()
        if contrast.synthetic_weight:
            cosines = (unit_vectors(own) * unit_vectors(made)).sum(dim=1)
            loss = loss + contrast.synthetic_weight * (2 - 2 * cosines).mean()
        return loss

    def _resampled(self, leaves: torch.Tensor, batch: Batch) -> torch.Tensor:
        """What the frozen CLIP says of an image holds for both of its views as anchors."""
        assert batch.clip_features is not None  # the step asks the base where there is a resampler
        assert self.contrast.resampler is not None
        images, views = batch.clip_features
        if self.contrast.gathers:
            images, views = self.processes.all_gather(images), self.processes.all_gather(views)
        resampling = resample(images, views, 0, torch.Tensor.detach, self.contrast.resampler)
        positives, negatives = view_similarities(leaves, "other_views")
        signal = self.contrast.of_similarities(self.loss.temperature)
        halves = zip(positives.chunk(2), negatives.chunk(2), strict=True)
        return torch.cat(
            [resampled_losses(signal, *half, resampling, num_shared=0) for half in halves]
        ).mean()
