"""Weighted decoupled contrastive loss, DCLW (Yeh et al., arXiv 2110.06848)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from dcr.losses.dcl import decoupled
from dcr.losses.numerics import at_least_float32, require_positive
from dcr.losses.signal import Signal


@dataclass(frozen=True)
class DCLW(Signal):
    """DCL that weighs a positive less where it is near already.

        loss_i = mean over p of  -w_ip s_ip / tau + log sum_n exp(s_in / tau)
        w_ip = 2 - B softmax_i(s_ip / sigma)

    The weights, of mean 1 over the B anchors, carry no gradient.
    """

    temperature: float = 0.1
    sigma: float = 0.5
    whole_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature, sigma=self.sigma)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        weights = 2 - len(positives) * torch.softmax(
            at_least_float32(positives).detach() / self.sigma, dim=0
        )
        return decoupled(positives, negatives, self.temperature, weights).mean(dim=1)
