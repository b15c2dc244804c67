"""Pairwise sigmoid loss of SigLIP (Zhai et al., arXiv 2303.15343)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from dcr.losses.numerics import at_least_float32, require_positive
from dcr.losses.signal import Signal


@dataclass(frozen=True)
class Sigmoid(Signal):
    """Every pair is a yes or a no of its own; pairs do not compete.

        loss_i = sum_p softplus(-(t s_ip + b)) + sum_n softplus(t s_in + b)

    In SigLIP t and b are learnt and start at 10 and -10; here they are constants.
    """

    logit_scale: float = 10.0
    logit_bias: float = -10.0

    def __post_init__(self) -> None:
        require_positive(logit_scale=self.logit_scale)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        positives, negatives = (
            self.logit_scale * at_least_float32(s) + self.logit_bias for s in (positives, negatives)
        )
        return F.softplus(-positives).sum(dim=1) + F.softplus(negatives).sum(dim=1)
