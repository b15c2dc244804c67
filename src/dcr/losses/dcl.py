"""Decoupled contrastive loss, DCL (Yeh et al., arXiv 2110.06848)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcr.losses.numerics import at_least_float32, require_positive
from dcr.losses.signal import Signal


@dataclass(frozen=True)
class DCL(Signal):
    """InfoNCE whose denominator holds the negatives alone.

        loss_i = mean over p of  -s_ip / tau + log sum_n exp(s_in / tau)

    An anchor that is well placed is then pulled as strongly as one that is not: for one positive
    ``InfoNCE_i = softplus(DCL_i)``.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        return decoupled(positives, negatives, self.temperature).mean(dim=1)


def decoupled(
    positives: torch.Tensor,
    negatives: torch.Tensor,
    temperature: float | torch.Tensor,
    weights: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """Return ``-w_ip s_ip / tau + log sum_n exp(s_in / tau)`` of each anchor and positive, (B, P).

    Args:
        positives: similarities s_ip, (B, P).
        negatives: similarities s_in, (B, N); -inf where there is none.
        temperature: tau > 0, a number or a scalar tensor.
        weights: w_ip of the positives, (B, P), or one number for all.
    """
    attraction = weights * at_least_float32(positives) / temperature
    return torch.logsumexp(at_least_float32(negatives) / temperature, dim=1)[:, None] - attraction
