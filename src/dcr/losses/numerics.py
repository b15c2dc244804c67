"""Precision rules shared by the losses."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in float32, or in float64 if it has that already."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def unit_vectors(
    tensor: torch.Tensor, start_dim: int = 1, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Return ``tensor`` flattened from ``start_dim`` on, scaled to unit length.

    It is in ``dtype``, or at least float32.
    """
    tensor = at_least_float32(tensor) if dtype is None else tensor.to(dtype)
    return F.normalize(tensor.flatten(start_dim), dim=-1)


def moved_to(draws: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return ``draws``, made on the CPU, on the device and in the dtype of ``like``.

    Nothing waits for the device.
    """
    return draws.to(like.device, like.dtype, non_blocking=True)


def require_positive(**values: float) -> None:
    """Raise ValueError naming the first value that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")


def require_not_negative(**values: float) -> None:
    """Raise ValueError naming the first value that is below 0."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must be >= 0, got {value}")


def present(negatives: torch.Tensor) -> torch.Tensor:
    """Return which negatives there are: those that are not masked by -inf."""
    return negatives > -torch.inf


def log_hard_mass(logits: torch.Tensor, beta: float) -> torch.Tensor:
    """Return log( M sum_n e^{(1 + beta) x_n} / sum_n e^{beta x_n} ), (B,), of M negatives.

    It is the log of ``sum_n w_n e^{x_n}`` with weights ``M softmax(beta x)``, whose mean is 1. At
    beta 0 it is the plain logsumexp, towards infinity log M plus the largest logit.

    Args:
        logits: x = s / tau, (B, N); -inf where there is no negative, which M does not count.
        beta: 0 weighs all alike; the larger, the more the hard ones weigh.
    """
    there = present(logits)
    finite = logits.masked_fill(~there, 0.0)  # 0 * inf is no number
    weighted = ((1 + beta) * finite).masked_fill(~there, -torch.inf)
    weights = (beta * finite).masked_fill(~there, -torch.inf)
    count = there.sum(dim=1).to(logits.dtype)
    return count.log() + torch.logsumexp(weighted, dim=1) - torch.logsumexp(weights, dim=1)


def contrast(positive_logits: torch.Tensor, log_mass: torch.Tensor) -> torch.Tensor:
    """Return mean over p of ``-x_p + log( sum_q e^{x_q} + e^{log_mass} )``, (B,).

    Args:
        positive_logits: of each anchor, (B, P); all of them stay in the denominator, as in DCR.
        log_mass: log of what the negatives add to the denominator, (B,).
    """
    log_denominator = torch.logaddexp(torch.logsumexp(positive_logits, dim=1), log_mass)
    return (log_denominator[:, None] - positive_logits).mean(dim=1)
