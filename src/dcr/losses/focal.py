"""Focal contrastive loss (arXiv 2304.00719, after the focal loss, arXiv 1708.02002)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcr.losses.numerics import at_least_float32, require_positive
from dcr.losses.signal import Signal


@dataclass(frozen=True)
class Focal(Signal):
    """InfoNCE that weighs down what is answered already.

        loss_i = mean over p of -(1 - p_ip)^gamma log p_ip
        p_ip = e_p / (sum_q e_q + sum_n e_n),  e = exp(s / tau)

    gamma 0 is InfoNCE. Between 0 and 1 the slope at p = 1 is infinite, so gamma must be 0 or at
    least 1.
    """

    temperature: float = 0.1
    # The published value is not known.
    gamma: float = 2.0

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)
        if self.gamma != 0 and not self.gamma >= 1:
            raise ValueError(f"gamma must be 0 or at least 1, got {self.gamma}")

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        logits = torch.cat(
            [at_least_float32(s) / self.temperature for s in (positives, negatives)], dim=1
        )
        log_p = torch.log_softmax(logits, dim=1)[:, : positives.shape[1]]
        return (-torch.expm1(log_p).neg().pow(self.gamma) * log_p).mean(dim=1)
