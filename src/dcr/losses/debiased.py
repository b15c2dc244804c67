"""Debiased contrastive loss (Chuang et al., arXiv 2007.00224)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dcr.losses.numerics import at_least_float32, contrast, log_hard_mass, present, require_positive
from dcr.losses.signal import Signal


@dataclass(frozen=True)
class Debiased(Signal):
    """InfoNCE corrected for negatives that are positives in truth, a share ``tau_plus`` of them.

        loss_i = mean over p of -log( e_p / (sum_q e_q + G) ),  e = exp(s / tau)
        G = max( (sum_n e_n - tau_plus M mean_q e_q) / (1 - tau_plus),  M exp(-1 / tau) )

    M is the number of negatives; the maximum is the least that M negatives can add. With several
    positives their mean estimates what a false negative adds (the paper's equation 8), and all stay
    in the denominator, as in DCR.
    """

    temperature: float = 0.5
    tau_plus: float = 0.1

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)
        require_share(self.tau_plus)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        return debiased(positives, negatives, self.temperature, self.tau_plus, beta=0.0)


def require_share(tau_plus: float) -> None:
    """Raise ValueError where ``tau_plus`` is no share of false negatives."""
    if not 0 <= tau_plus < 1:
        raise ValueError(f"tau_plus must be at least 0 and below 1, got {tau_plus}")


def debiased(
    positives: torch.Tensor,
    negatives: torch.Tensor,
    temperature: float,
    tau_plus: float,
    beta: float,
) -> torch.Tensor:
    """Return the loss of each anchor, (B,).

    Args:
        positives: similarities, (B, P).
        negatives: similarities, (B, M); -inf where there is none.
        temperature: tau > 0.
        tau_plus: share of negatives that are positives in truth, in [0, 1).
        beta: weighs hard negatives, see `dcr.losses.hcl`; 0 for all alike.
    """
    positives = at_least_float32(positives) / temperature
    negatives = at_least_float32(negatives) / temperature
    log_count = present(negatives).sum(dim=1).to(negatives.dtype).log()
    log_mass = log_hard_mass(negatives, beta)
    log_share = math.log(tau_plus) if tau_plus > 0 else -math.inf
    log_false = (
        log_share + log_count + torch.logsumexp(positives, dim=1) - math.log(positives.shape[1])
    )
    log_rest = _log_difference(log_mass, log_false) - math.log1p(-tau_plus)
    return contrast(positives, torch.maximum(log_rest, log_count - 1 / temperature))


def _log_difference(larger: torch.Tensor, smaller: torch.Tensor) -> torch.Tensor:
    """Return log(e^larger - e^smaller), and -inf without gradient where that is not positive."""
    difference = smaller - larger
    positive = difference < 0
    # The branch not taken must stay finite: its gradient is times 0.
    safe = torch.where(positive, difference, -1.0)
    return torch.where(positive, larger + torch.log(-torch.expm1(safe)), -torch.inf)
