"""Importance-weighted hard negatives, HN-NCE, of DiHT (Radenovic et al., arXiv 2301.02280)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dcr.losses.numerics import (
    at_least_float32,
    log_hard_mass,
    require_not_negative,
    require_positive,
)
from dcr.losses.signal import Signal


@dataclass(frozen=True)
class HNNCE(Signal):
    """InfoNCE with its positives scaled and its hard negatives weighing more in the denominator.

        loss_i = mean over p of -log( e_p / (alpha sum_q e_q + sum_n w_n e_n) )
        w = M softmax(beta s / tau),  e = exp(s / tau)

    M is the number of negatives. alpha 1 and beta 0 are InfoNCE; alpha 0 is DCL with these
    weights.
    """

    temperature: float = 0.1
    alpha: float = 1.0
    beta: float = 0.25

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)
        require_not_negative(beta=self.beta)
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be between 0 and 1, got {self.alpha}")

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        positives, negatives = (
            at_least_float32(s) / self.temperature for s in (positives, negatives)
        )
        log_denominator = log_hard_mass(negatives, self.beta)
        if self.alpha > 0:
            own = math.log(self.alpha) + torch.logsumexp(positives, dim=1)
            log_denominator = torch.logaddexp(own, log_denominator)
        return (log_denominator[:, None] - positives).mean(dim=1)
