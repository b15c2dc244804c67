"""Debiased contrast with hard negatives, HCL (Robinson et al., arXiv 2010.04592)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcr.losses.debiased import debiased, require_share
from dcr.losses.numerics import require_not_negative, require_positive
from dcr.losses.signal import Signal


@dataclass(frozen=True)
class HCL(Signal):
    """The debiased loss with hard negatives weighing more.

    ``sum_n e_n`` becomes ``M sum_n exp((1 + beta) s_n / tau) / sum_n exp(beta s_n / tau)``: beta 0
    is the debiased loss, and towards infinity only the hardest negative is left.
    """

    temperature: float = 0.5
    tau_plus: float = 0.1
    beta: float = 1.0

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)
        require_share(self.tau_plus)
        require_not_negative(beta=self.beta)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        return debiased(positives, negatives, self.temperature, self.tau_plus, self.beta)
