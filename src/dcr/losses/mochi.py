"""MoCHi: hard negatives mixed from negatives, or from one and the anchor.

Source: Kalantidis et al., arXiv 2010.01028.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcr.losses.feature_signal import FeatureSignal
from dcr.losses.infonce import infonce
from dcr.losses.numerics import moved_to, require_not_negative, require_positive, unit_vectors


@dataclass(frozen=True)
class MoCHi(FeatureSignal):
    """InfoNCE with made negatives beside the real ones, at an anchor's hardest.

    Of the ``num_hardest`` negatives nearest to an anchor q it adds ``num_mixed`` times norm(a n_i +
    (1 - a) n_j), a in (0, 1), and ``num_query_mixed`` times norm(b q + (1 - b) n_j), b in (0, 0.5).
    They are made without gradient, so that only the anchor learns from them.
    """

    temperature: float = 0.2
    # Of a batch; published with a queue of 16384 negatives, of which 1024.
    num_hardest: int = 8
    num_mixed: int = 8
    num_query_mixed: int = 4

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature, num_hardest=self.num_hardest)
        require_not_negative(num_mixed=self.num_mixed, num_query_mixed=self.num_query_mixed)

    def contrast(
        self, anchors: torch.Tensor, keys: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """As `FeatureSignal.contrast`, of ``anchors`` and ``keys``.

        ``generator`` draws what is mixed, and how.
        """
        similarities = anchors @ keys.T
        itself = torch.eye(len(keys), dtype=torch.bool, device=keys.device)
        negatives = similarities.masked_fill(itself, -torch.inf)
        made = self.make_negatives(anchors.detach(), keys.detach(), negatives.detach(), generator)
        harder = torch.einsum("bd,bnd->bn", anchors, made)
        return infonce(
            similarities.diagonal()[:, None],
            torch.cat([negatives, harder], dim=1),
            self.temperature,
        )

    def make_negatives(
        self,
        anchors: torch.Tensor,
        keys: torch.Tensor,
        similarities: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return each anchor's made negatives, (B, num_mixed + num_query_mixed, d), unit length.

        Args:
            anchors: unit vectors, (B, d).
            keys: unit vectors, (K, d).
            similarities: of anchors to keys, (B, K); -inf at each anchor's own key, the one that is
                no negative.
            generator: on the CPU.
        """
        count = min(self.num_hardest, len(keys) - 1)
        hardest = keys[similarities.topk(count, dim=1).indices]
        size = len(anchors)

        def draw(number: int) -> torch.Tensor:
            """Draw ``number`` of each anchor's hardest negatives, with replacement.

            They are (B, number, d).
            """
            chosen = torch.randint(count, (size, number), generator=generator).to(
                keys.device, non_blocking=True
            )
            return hardest.gather(1, chosen[..., None].expand(-1, -1, hardest.shape[2]))

        def share(number: int, most: float) -> torch.Tensor:
            """Return ``number`` shares an anchor, uniform in [0, ``most``), (B, number, 1)."""
            return most * moved_to(torch.rand(size, number, 1, generator=generator), keys)

        a = share(self.num_mixed, 1.0)
        b = share(self.num_query_mixed, 0.5)
        mixed = a * draw(self.num_mixed) + (1 - a) * draw(self.num_mixed)
        query_mixed = b * anchors[:, None] + (1 - b) * draw(self.num_query_mixed)
        return unit_vectors(torch.cat([mixed, query_mixed], dim=1), 2)
