"""Contrastive attraction and contrastive repulsion, CACR (Zheng et al., arXiv 2105.03746)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcr.losses.numerics import at_least_float32, present, require_not_negative
from dcr.losses.signal import Signal


@dataclass(frozen=True)
class CACR(Signal):
    """Far positives are pulled more than near ones, near negatives pushed more than far ones.

        loss_i = a sum_p softmax_p(t_plus d_ip) d_ip - b sum_n softmax_n(-t_minus d_in) d_in

    d = 2 - 2 s is the squared distance of unit vectors. It can be negative. With one positive the
    first term is the alignment ``a d_ip``.
    """

    attraction: float = 1.0
    repulsion: float = 1.0
    t_plus: float = 1.0
    t_minus: float = 2.0

    def __post_init__(self) -> None:
        require_not_negative(
            attraction=self.attraction,
            repulsion=self.repulsion,
            t_plus=self.t_plus,
            t_minus=self.t_minus,
        )

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        near = 2 - 2 * at_least_float32(positives)
        there = present(negatives)
        far = 2 - 2 * at_least_float32(negatives).masked_fill(~there, 0.0)
        pull = (torch.softmax(self.t_plus * near, dim=1) * near).sum(dim=1)
        weights = torch.softmax((-self.t_minus * far).masked_fill(~there, -torch.inf), dim=1)
        return self.attraction * pull - self.repulsion * (weights * far).sum(dim=1)
