"""Model-aware contrastive learning (MACL): temperature and weight follow alignment.

Source: Huang et al., arXiv 2207.07874.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F

from dcr.losses.dcl import decoupled
from dcr.losses.numerics import at_least_float32, require_not_negative, require_positive
from dcr.losses.signal import Signal

# Below it softplus(x) / sigmoid(x) is 1 to any precision, while both vanish.
_FLAT = -50.0


@dataclass(frozen=True)
class MACL(Signal):
    """InfoNCE at a temperature that rises with alignment, its lost weight given back.

        tau_a = tau (1 + alpha (A - a0)),  A = mean of s_ip, without gradient
        loss_i = mean over p of  -1 / (1 - P_ip) log P_ip
        P_ip = e_p / (e_p + sum_n e_n),  e = exp(s / tau_a)

    1 / (1 - P) carries no gradient, so that the gradient is DCL's at tau_a.
    """

    temperature: float = 0.1
    alpha: float = 0.5
    a0: float = 0.0
    whole_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)
        require_not_negative(alpha=self.alpha)
        if not abs(self.alpha) * (1 + abs(self.a0)) < 1:  # A is between -1 and 1
            raise ValueError(
                f"alpha (1 + |a0|) must be below 1, or tau_a can be 0; got {self.alpha} and"
                f" {self.a0}"
            )

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        # As a tensor, since a Python number would wait for the device; in float64, as Python would
        # compute with it.
        alignment = at_least_float32(positives).detach().mean().double()
        adapted = self.temperature * (1 + self.alpha * (alignment - self.a0))
        odds = decoupled(positives, negatives, adapted)  # log((1 - P) / P)
        value = odds.detach().clamp(min=_FLAT)
        value = F.softplus(value) / torch.sigmoid(value)
        return (value + odds - odds.detach()).mean(dim=1)
