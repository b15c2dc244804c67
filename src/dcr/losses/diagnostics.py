"""What a contrast does to its anchors, as numbers to log: no gradient flows from here.

Alignment and uniformity of image features are in `dcr.losses.align_uniform`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from dcr.losses.numerics import at_least_float32

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Similarities to positives (B, P) and negatives (B, N) -> loss per anchor (B,)."""


def slopes(
    positives: torch.Tensor, negatives: torch.Tensor, loss: Loss
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how steeply the loss depends on each similarity, ``|dL/ds|``, (B, P) and (B, N).

    Args:
        positives: similarities, (B, P).
        negatives: similarities, (B, N); -inf where there is none, whose slope is 0.
        loss: of the contrast, per anchor.
    """
    with torch.enable_grad():
        leaves = [
            at_least_float32(similarities).detach().requires_grad_()
            for similarities in (positives, negatives)
        ]
        pulls, pushes = torch.autograd.grad(loss(*leaves).sum(), leaves)
    return pulls.abs(), pushes.abs()


def effective_negatives(pushes: torch.Tensor) -> torch.Tensor:
    """Return how many negatives push each anchor: the perplexity of their shares of the push, (B,).

    It is N where all push alike, 1 where one outweighs the rest, and 0 where none pushes. InfoNCE's
    shares are the softmax of its negatives' logits.

    Args:
        pushes: of `slopes`, (B, N).
    """
    total = pushes.sum(dim=1, keepdim=True)
    shares = pushes / total.where(total > 0, 1.0)
    return torch.where(total[:, 0] > 0, torch.special.entr(shares).sum(dim=1).exp(), 0.0)


def target_gradient_share(positives: torch.Tensor, pulls: torch.Tensor) -> torch.Tensor:
    """Return the target's share of the positives' pull on the anchor prediction, (B,).

    The gradient of the loss at an anchor of length |a| through a cosine s is, in length,
    ``|dL/ds| sqrt(1 - s^2) / |a|``; the share is the target's such length over the sum of all
    positives'. It is 1/P where all pull alike, and 0 where nothing pulls.

    Args:
        positives: similarities, (B, P); the target's is the last column.
        pulls: of `slopes`, (B, P).
    """
    lengths = pulls * (1 - at_least_float32(positives).detach().square()).clamp(min=0).sqrt()
    total = lengths.sum(dim=1)
    return torch.where(total > 0, lengths[:, -1] / total.where(total > 0, 1.0), 0.0)
