"""Feature transformation: positives moved apart, negatives mixed (Zhu et al., arXiv 2108.02982)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dcr.losses.feature_signal import FeatureSignal
from dcr.losses.infonce import infonce
from dcr.losses.numerics import moved_to, require_positive


@dataclass(frozen=True)
class FeatureTransform(FeatureSignal):
    """InfoNCE with positives extrapolated away from each other and negatives interpolated.

        q' = l q + (1 - l) k,  k' = l k + (1 - l) q,  l ~ 1 + Beta(a, a)
        n' = mu n + (1 - mu) n_perm,  mu ~ Beta(b, b)

    (q, k) is the positive pair, n_perm the negatives in a random order; a is ``positive_beta``, b
    is ``negative_beta``. q' and k' are not scaled to unit length again, so that
    q' . k' = s + 2 l (1 - l) (1 - s), which is below s. Negatives are compared with q itself.
    """

    temperature: float = 0.1
    positive_beta: float = 2.0
    negative_beta: float = 1.6

    def __post_init__(self) -> None:
        require_positive(
            temperature=self.temperature,
            positive_beta=self.positive_beta,
            negative_beta=self.negative_beta,
        )

    def contrast(
        self, anchors: torch.Tensor, keys: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """As `FeatureSignal.contrast`, of ``anchors`` and ``keys``.

        ``generator`` draws l, mu and the order.
        """
        size = len(anchors)
        similarities = anchors @ keys.T
        share = 1 + moved_to(draw_beta(self.positive_beta, (size, 1), generator), anchors)
        moved = (share * anchors + (1 - share) * keys) * (share * keys + (1 - share) * anchors)
        places = torch.arange(size, device=keys.device)
        # all but the anchor's own, by place: a mask would wait for the device
        others = places[None, :-1] + (places[None, :-1] >= places[:, None])
        negatives = similarities.gather(1, others)
        order = torch.rand(size, size - 1, generator=generator).argsort(dim=1)
        mu = moved_to(draw_beta(self.negative_beta, (size, size - 1), generator), anchors)
        drawn = negatives.gather(1, order.to(keys.device, non_blocking=True))
        mixed = mu * negatives + (1 - mu) * drawn  # q . (mu n + (1 - mu) n_perm)
        return infonce(moved.sum(dim=1, keepdim=True), mixed, self.temperature)


def draw_beta(
    concentration: float, shape: tuple[int, ...], generator: torch.Generator
) -> torch.Tensor:
    """Return draws of Beta(c, c), float64, on the CPU.

    torch's own Beta draws from the global stream alone.

    Args:
        concentration: c > 0.
        shape: of the result.
        generator: on the CPU; it moves on by one draw, whatever the shape.
    """
    seed = int(torch.randint(2**63 - 1, (1,), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(concentration, concentration, shape))
