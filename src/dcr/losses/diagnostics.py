"""What a contrast does to its anchors, as numbers to log: no gradient flows from here.

Alignment and uniformity of image features are in `dcr.losses.align_uniform`.
"""

from __future__ import annotations

import torch

from dcr.losses.numerics import at_least_float32, require_positive
from dcr.losses.signal import Signal


@torch.no_grad()
def effective_negatives(negatives: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return how many negatives push each anchor: the perplexity of their softmax weights, (B,).

    It is N where all are equally near, and 1 where one outweighs the rest.

    Args:
        negatives: similarities, (B, N); -inf where there is none.
        temperature: tau > 0.
    """
    require_positive(temperature=temperature)
    log_weights = torch.log_softmax(at_least_float32(negatives) / temperature, dim=1)
    weights = log_weights.exp()
    return torch.exp(-(weights * log_weights.masked_fill(weights == 0, 0.0)).sum(dim=1))


def target_gradient_share(positives: torch.Tensor, negatives: torch.Tensor, signal: Signal) -> torch.Tensor:
    """Return the share of the positives' pull on the anchor prediction that comes from the target, (B,).

    The gradient of the loss at an anchor of length |a| through a cosine s is, in length,
    ``|dL/ds| sqrt(1 - s^2) / |a|``; the share is the target's such length over the sum of all positives'. It is 1/P
    where all pull alike, and 0 where nothing pulls.

    Args:
        positives: similarities, (B, P); the target's is the last column.
        negatives: similarities, (B, N); -inf where there is none.
        signal: whose loss is looked at.
    """
    with torch.enable_grad():
        leaf = at_least_float32(positives).detach().requires_grad_()
        (slope,) = torch.autograd.grad(signal(leaf, negatives.detach()).sum(), leaf)
    pull = slope.abs() * (1 - leaf.detach().square()).clamp(min=0).sqrt()
    total = pull.sum(dim=1)
    return torch.where(total > 0, pull[:, -1] / total, 0.0)
