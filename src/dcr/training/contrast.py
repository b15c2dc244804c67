"""What the methods contrast: the recipe's signal and source of positives, on predicted noise and on image features.

Notation: B batch, R rows in a chunk, K columns of a row, V views of an image, d width of image features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from dcr.losses.align_uniform import alignment, uniformity
from dcr.losses.diagnostics import Loss, effective_negatives, slopes, target_gradient_share
from dcr.losses.feature_signal import FeatureSignal
from dcr.losses.features import contrast_features, view_similarities
from dcr.losses.infonce import InfoNCE, infonce
from dcr.losses.numerics import unit_vectors
from dcr.losses.signal import Signal
from dcr.positives.neighbours import Resampler, Resampling, resample, resampled_losses
from dcr.training.batches import Batch
from dcr.training.columns import Columns
from dcr.training.processes import Processes

_UNIFORMITY_T = 2.0  # of the diagnostic, Wang and Isola's


@dataclass(frozen=True)
class ContrastOptions:
    """See conf/base/parameters_training.yml.

    Attributes:
        signal: None for DCR's own InfoNCE at ``temperature``, the target weighing ``target_weight``.
        resampler: of positives and negatives by a frozen CLIP, or None.
        synthetic_weight: of the pull towards the last view, which is a made positive then; 0 where there is none.
        diagnostics: whether the contrast is measured too.
    """

    signal: Signal | FeatureSignal | None = None
    resampler: Resampler | None = None
    synthetic_weight: float = 0.0
    diagnostics: bool = False

    @property
    def is_own(self) -> bool:
        """Whether DCR's own loss is all there is."""
        return self.signal is None and self.resampler is None and not self.synthetic_weight

    @property
    def whole_batch(self) -> bool:
        """Whether rows cannot be walked in chunks."""
        return isinstance(self.signal, Signal) and self.signal.whole_batch


def resample_rows(
    batch: Batch, options: ContrastOptions, columns: Columns, shared: bool, processes: Processes
) -> Resampling:
    """Return what the frozen CLIP makes of this process's rows; nothing where it is not asked."""
    if options.resampler is None:
        return Resampling()
    gather = processes.gather if shared else torch.Tensor.detach
    return resample(*batch.clip_features, columns.first, gather, options.resampler)


def contrast_rows(
    positives: torch.Tensor,
    negatives: torch.Tensor,
    resampling: Resampling,
    options: ContrastOptions,
    temperature: float,
    target_weight: float,
    num_columns: int,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the contrastive loss of rows of predicted noise, (R,), and the diagnostics that are asked for.

    Args:
        positives: similarities to the views, a made positive last of them if there is one, and to the target,
            (R, V + 1).
        negatives: similarities to the columns, (R, K), -inf at the anchor.
        resampling: of these rows.
        temperature, target_weight: of DCR's own InfoNCE.
        num_columns: images that a row is contrasted with, of which K may be a sample.
    """
    positives, pull = _split_made(positives, options)
    if options.signal is None and options.resampler is None:
        loss = _own_loss(positives.shape[1], negatives.shape[1] - 1, temperature, target_weight, num_columns)
    else:
        signal = options.signal or InfoNCE(temperature)
        loss = partial(resampled_losses, signal, resampling=resampling, num_shared=1)
    measures = _measure_rows(positives, negatives, loss) if options.diagnostics else {}
    losses = loss(positives, negatives)
    return losses if pull is None else losses + pull, measures


def _own_loss(
    num_positives: int, num_negatives: int, temperature: float, target_weight: float, num_columns: int
) -> Loss:
    """Return DCR's own contrast, the negatives' sum scaled up where they are a sample."""
    num_views = num_positives - 1
    weights = [(1 - target_weight) / num_views] * num_views + [target_weight]
    factor = (num_columns - 1) / num_negatives if num_negatives else 1.0
    alike = len(set(weights)) == 1
    return partial(infonce, temperature=temperature, weights=None if alike else weights, negatives_factor=factor)


def _measure_rows(positives: torch.Tensor, negatives: torch.Tensor, loss: Loss) -> dict[str, torch.Tensor]:
    pulls, pushes = slopes(positives, negatives, loss)
    return {
        "effective_negatives": effective_negatives(pushes).mean(),
        "target_gradient_share": target_gradient_share(positives, pulls).mean(),
    }


def _split_made(positives: torch.Tensor, options: ContrastOptions) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the positives of the contrast, and the pull towards the made one, (R,), which stays out of it."""
    if not options.synthetic_weight:
        return positives, None
    views, made, target = positives.split([positives.shape[1] - 2, 1, 1], dim=1)
    return torch.cat([views, target], dim=1), options.synthetic_weight * (2 - 2 * made[:, 0])


@torch.no_grad()
def measure_features(features: torch.Tensor, size: int, options: ContrastOptions) -> dict[str, torch.Tensor]:
    """Return alignment and uniformity of image features, (B and V * B more, d), if they are asked for."""
    if not options.diagnostics:
        return {}
    own, views = features[:size], features[size : 2 * size]
    return {"alignment": alignment(own, views), "uniformity": uniformity(own, _UNIFORMITY_T)}


def contrast_image_features(
    own: Columns,
    views: list[Columns],
    batch: Batch,
    options: ContrastOptions,
    temperature: float,
    processes: Processes | None,
) -> torch.Tensor:
    """Return the contrastive loss of image features by the recipe's signal, a scalar.

    Args:
        processes: that share their images, or None; each computes the loss of all.
    """
    if options.synthetic_weight:
        *views, made = views
    leaves = torch.stack([part.leaf for part in (own, *views)])
    if options.resampler is not None:
        loss = _resampled_features(leaves, batch, options, temperature, processes)
    elif isinstance(options.signal, FeatureSignal):
        loss = options.signal(leaves, torch.Generator().manual_seed(batch.signal_seed)).mean()
    else:
        loss = contrast_features(leaves, options.signal or InfoNCE(temperature)).mean()
    if options.synthetic_weight:
        cosines = (unit_vectors(own.leaf) * unit_vectors(made.leaf)).sum(dim=1)
        loss = loss + options.synthetic_weight * (2 - 2 * cosines).mean()
    return loss


def _resampled_features(
    leaves: torch.Tensor, batch: Batch, options: ContrastOptions, temperature: float, processes: Processes | None
) -> torch.Tensor:
    """What the frozen CLIP says of an image holds for both of its views as anchors."""
    clip = [processes.gather(part) for part in batch.clip_features] if processes else batch.clip_features
    resampling = resample(*clip, 0, torch.Tensor.detach, options.resampler)
    positives, negatives = view_similarities(leaves, "other_views")
    signal = options.signal or InfoNCE(temperature)
    halves = zip(positives.chunk(2), negatives.chunk(2), strict=True)
    return torch.cat([resampled_losses(signal, *half, resampling, num_shared=0) for half in halves]).mean()
