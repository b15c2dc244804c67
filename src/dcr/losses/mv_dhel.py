"""Many views in one term, MV-DHEL.

Source: Koromilas et al., "A principled framework for multi-view contrastive learning".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from dcr.losses.numerics import at_least_float32, require_positive
from dcr.losses.signal import Layout, Signal


@dataclass(frozen=True)
class MVDHEL(Signal):
    """All positive pairs of an image in one logarithm, each view's uniformity in one of its own.

        loss_i = -log sum_p exp(s_ip / tau) + sum_l log sum_n exp(s_iln / tau)

    On image features the anchor is an image, its positives are all pairs of its views, and l runs
    over the views, each against the same view of the other images. Where negatives come in one
    group, (B, N), the second sum has one term.
    """

    temperature: float = 0.1
    negatives_from: ClassVar[Layout] = "same_view"

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        """As `Signal`; ``negatives`` may also be grouped by view, (B, L, N)."""
        negatives = at_least_float32(negatives) / self.temperature
        groups = negatives[:, None] if negatives.ndim == 2 else negatives
        attraction = torch.logsumexp(at_least_float32(positives) / self.temperature, dim=1)
        return torch.logsumexp(groups, dim=2).sum(dim=1) - attraction
