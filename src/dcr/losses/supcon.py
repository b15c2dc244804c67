"""Supervised contrastive loss, its form L_out (Khosla et al., arXiv 2004.11362, equation 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcr.losses.numerics import at_least_float32, present, require_positive
from dcr.losses.signal import Signal


@dataclass(frozen=True)
class SupCon(Signal):
    """InfoNCE whose anchors may have different numbers of positives.

        loss_i = -mean over p of ( s_ip / tau - log sum_{k != i} exp(s_ik / tau) )

    The sum runs over positives and negatives. Where every anchor has the same number of positives
    this is InfoNCE as DCR uses it; what SupCon adds is that a positive may be absent (-inf), and
    that an anchor without any counts as 0.
    """

    temperature: float = 0.07

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        there = present(positives)
        logits = torch.cat(
            [at_least_float32(s) / self.temperature for s in (positives, negatives)], dim=1
        )
        log_probabilities = logits[:, : positives.shape[1]] - torch.logsumexp(
            logits, dim=1, keepdim=True
        )
        return -log_probabilities.masked_fill(~there, 0.0).sum(dim=1) / there.sum(dim=1).clamp(
            min=1
        )
