"""What a frozen CLIP says of a batch's positives and negatives.

Source: CLIP-guided resampling, arXiv 2306.04272.

Notation: R rows (anchors) out of a batch of B images; c[i, j] the cosine of the frozen CLIP's
features of row i's image and of image j's view. ``rows`` says which image each row is, so that c[i,
rows[i]] is an anchor's to its own view.

A share is rounded up, so that a small batch is resampled too, and at least one of those it is taken
from is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from dcr.losses.numerics import unit_vectors
from dcr.losses.signal import Signal

Rule = Literal[
    "add_new_positive", "drop_false_negative", "drop_easy_negative", "drop_false_positive"
]


@dataclass(frozen=True)
class Resampling:
    """What becomes of the rows' contrasts.

    Attributes:
        neighbours: index of one more positive of each row, (R,), or None.
        dropped: negatives that do not count, (R, B), or None.
        weights: of the rows' losses, of mean 1 over the whole batch, (R,), or None.
    """

    neighbours: torch.Tensor | None = None
    dropped: torch.Tensor | None = None
    weights: torch.Tensor | None = None

    def rows(self, places: torch.Tensor) -> Resampling:
        """Return what concerns some of the rows, given by their places among them."""
        parts = (self.neighbours, self.dropped, self.weights)
        return Resampling(*(None if part is None else part[places] for part in parts))


@dataclass(frozen=True)
class Resampler:
    """One of the paper's four rules, with its share.

    - ``add_new_positive``: one half of the loss with the own view, one half with the nearest other
      image as positive.
    - ``drop_false_negative``: the ``share`` of a row's negatives that look most like the anchor do
      not count.
    - ``drop_easy_negative``: the ``share`` that look least like it do not count.
    - ``drop_false_positive``: the ``share`` of the batch's anchors that look least like their own
      view are skipped, and the others weigh more, so that the loss stays a mean.
    """

    rule: Rule
    share: float

    def __call__(
        self, similarities: torch.Tensor, own: torch.Tensor, rows: torch.Tensor
    ) -> Resampling:
        """Return what becomes of the rows.

        Args:
            similarities: c of the rows, (R, B).
            own: of every image of the whole batch to its own view, (B,).
            rows: index of each row in the batch, (R,).
        """
        if self.rule == "add_new_positive":
            return Resampling(neighbours=nearest_neighbours(similarities, rows))
        if self.rule == "drop_false_negative":
            return Resampling(dropped=false_negatives(similarities, rows, self.share))
        if self.rule == "drop_easy_negative":
            return Resampling(dropped=easy_negatives(similarities, rows, self.share))
        kept = (~false_positives(own, self.share)).to(own.dtype)
        return Resampling(weights=(kept / kept.mean())[rows])


def nearest_neighbours(similarities: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return for each row the other image that CLIP finds nearest, (R,).

    Args:
        similarities: c of the rows, (R, B).
        rows: index of each row in the batch, (R,).

    Raises:
        ValueError: the batch has fewer than three images, so that a row would have no negative
            left.
    """
    if similarities.shape[1] < 3:
        raise ValueError(
            f"a batch must have at least 3 images for a new positive, got {similarities.shape[1]}"
        )
    return _others(similarities, rows, -torch.inf).argmax(dim=1)


def false_negatives(similarities: torch.Tensor, rows: torch.Tensor, share: float) -> torch.Tensor:
    """Return which negatives CLIP finds too near to be any: the row's top ``share``, (R, B) bool.

    Args:
        similarities: c of the rows, (R, B).
        rows: index of each row in the batch, (R,).
        share: of its B - 1 negatives.
    """
    return _highest(_others(similarities, rows, -torch.inf), similarities.shape[1] - 1, share)


def easy_negatives(similarities: torch.Tensor, rows: torch.Tensor, share: float) -> torch.Tensor:
    """Return which negatives CLIP finds too far to teach anything, (R, B) bool.

    They are the row's lowest ``share``.

    Args:
        similarities: c of the rows, (R, B).
        rows: index of each row in the batch, (R,).
        share: of its B - 1 negatives.
    """
    return _highest(-_others(similarities, rows, torch.inf), similarities.shape[1] - 1, share)


def false_positives(own: torch.Tensor, share: float) -> torch.Tensor:
    """Return which anchors' own views CLIP finds unlike them, (B,) bool.

    They are the batch's lowest ``share``.

    Args:
        own: c of every image of the batch to its own view, (B,).
        share: of the B anchors.
    """
    return _highest(-own[None], len(own), share)[0]


def _others(similarities: torch.Tensor, rows: torch.Tensor, filler: float) -> torch.Tensor:
    return similarities.scatter(1, rows[:, None], filler)


def _highest(scores: torch.Tensor, candidates: int, share: float) -> torch.Tensor:
    """Mark in each row the highest scores, a share of the number of candidates."""
    count = min(math.ceil(share * candidates), candidates - 1)
    chosen = scores.topk(count, dim=1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, chosen, True)


def resample(
    features: torch.Tensor,
    view_features: torch.Tensor,
    first: int,
    gather: Callable[[torch.Tensor], torch.Tensor],
    resampler: Resampler,
) -> Resampling:
    """Ask a frozen CLIP about this process's rows of a batch that several processes may share.

    Args:
        features, view_features: the frozen CLIP's image features of this process's images and of
            their views, (R, d).
        first: place of this process's first image in the whole batch.
        gather: joins every process's tensor by rank; the identity where each keeps to its own.
        resampler: one of the four rules.
    """
    similarities = unit_vectors(features) @ gather(unit_vectors(view_features)).T
    rows = first + torch.arange(len(features), device=features.device)
    return resampler(similarities, gather(similarities.gather(1, rows[:, None])[:, 0]), rows)


def resampled_losses(
    signal: Signal,
    positives: torch.Tensor,
    negatives: torch.Tensor,
    resampling: Resampling,
    num_shared: int,
) -> torch.Tensor:
    """Return a signal's loss of each row after resampling, (R,).

    Args:
        signal: similarities to positives and negatives -> loss per row.
        positives: similarities, (R, P); the last ``num_shared`` columns stay positives beside a
            neighbour, as DCR's target does.
        negatives: similarities, (R, B); -inf at the row's own image. A neighbour is taken from
            here, and is no negative in its own half of the loss.
        resampling: of these rows.
        num_shared: 1 for DCR's target, 0 where there is none.
    """
    if resampling.dropped is not None:
        negatives = negatives.masked_fill(resampling.dropped, -torch.inf)
    losses = signal(positives, negatives)
    if resampling.neighbours is not None:
        place = resampling.neighbours[:, None]
        shared = positives[:, positives.shape[1] - num_shared :]
        found = torch.cat([negatives.gather(1, place), shared], dim=1)
        losses = (losses + signal(found, negatives.scatter(1, place, -torch.inf))) / 2
    return losses if resampling.weights is None else losses * resampling.weights
