"""Poly-view contrastive learning, its geometric form (Shidani et al., arXiv 2403.05490)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F

from dcr.losses.dcl import decoupled
from dcr.losses.numerics import require_positive
from dcr.losses.signal import Layout, Signal


@dataclass(frozen=True)
class PolyView(Signal):
    """Every positive is a contrast of its own against all views of the other images.

    Positives do not compete.

        loss_i = mean over p of -log( e_p / (e_p + sum_n e_n) ),  e = exp(s / tau)

    The mean of logarithms is the geometric mean of the paper's likelihoods. With one positive it is
    InfoNCE.
    """

    temperature: float = 0.1
    negatives_from: ClassVar[Layout] = "all_views"

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        return F.softplus(decoupled(positives, negatives, self.temperature)).mean(dim=1)
