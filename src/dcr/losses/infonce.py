"""InfoNCE over given similarities, with any number of positives.

Source: van den Oord et al., arXiv 1807.03748.

Notation: R anchors, P positives and N negatives of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dcr.losses.numerics import at_least_float32, require_positive
from dcr.losses.signal import Signal


def infonce(
    positives: torch.Tensor,
    negatives: torch.Tensor,
    temperature: float,
    weights: Sequence[float] | None = None,
    negatives_factor: float = 1.0,
) -> torch.Tensor:
    """Return the loss of each anchor, averaged over its positives.

        loss_i = sum over p of  w_p ( -s_ip / tau + log D_i )
        D_i = sum_q exp(s_iq / tau) + f sum_n exp(s_in / tau)

    Every positive stays in the denominator, as in DCR (arXiv 2603.04803): with P positives the
    floor is log P.

    Args:
        positives: similarities of each anchor to its positives, (R, P).
        negatives: similarities of each anchor to its negatives, (R, N); -inf where there is none.
        temperature: tau > 0.
        weights: w of the positives, P of them with sum 1; by default all alike.
        negatives_factor: f > 0, by how much the negatives' sum is scaled; (B - 1) / N where N of B
            - 1 were sampled without replacement, so that the sum is that of all in the mean.

    Returns:
        Loss per anchor, (R,), at least float32.

    Raises:
        ValueError: temperature is not positive.
    """
    require_positive(temperature=temperature)
    positives = at_least_float32(positives) / temperature
    negatives = at_least_float32(negatives) / temperature
    if negatives_factor != 1:
        negatives = negatives + math.log(negatives_factor)
    log_denominator = torch.logsumexp(torch.cat([positives, negatives], dim=1), dim=1)
    losses = log_denominator[:, None] - positives
    if weights is None:
        return losses.mean(dim=1)
    # each number by itself: a list would be copied from the CPU, which waits for all that the
    # device is at
    return losses @ torch.stack([losses.new_full((), weight) for weight in weights])


def published_infonce(
    positives: torch.Tensor, negatives: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return `infonce` as DCR's published code computes it: log of exponentials, in bfloat16.

    It is for the reproduction of published checkpoints only; it gives NaN for tau <= 0.011, where
    exp(1 / tau) is beyond bfloat16.

    Args:
        positives, negatives, temperature: see `infonce`.

    Returns:
        Loss per anchor, (R,), bfloat16.

    Raises:
        ValueError: temperature is not positive.
    """
    require_positive(temperature=temperature)
    positives, negatives = (torch.exp(s.bfloat16() / temperature) for s in (positives, negatives))
    denominator = positives.sum(dim=1) + negatives.sum(dim=1)
    return -torch.log(positives / denominator[:, None]).mean(dim=1)


@dataclass(frozen=True)
class InfoNCE(Signal):
    """DCR's own contrast, see `infonce`."""

    temperature: float

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        return infonce(positives, negatives, self.temperature)
