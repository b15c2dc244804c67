"""Kernel InfoNCE with an exponential kernel (Tan et al., arXiv 2303.15103)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcr.losses.infonce import infonce
from dcr.losses.numerics import at_least_float32, present, require_positive
from dcr.losses.signal import Signal

# Squared distance below which the kernel is taken as flat: the slope of dist^gamma at 0 is infinite
# for gamma < 1.
_FLAT = 1e-7


@dataclass(frozen=True)
class KernelMixture(Signal):
    """InfoNCE on ``-dist^gamma / tau`` in place of ``s / tau``.

    dist is the distance of unit vectors. gamma 2 is the Gaussian kernel, InfoNCE at tau / 2; gamma
    1 the Laplacian; the paper mixes kernels of this family.
    """

    temperature: float = 0.1
    # At this temperature it is InfoNCE at half of it.
    gamma: float = 2.0

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature, gamma=self.gamma)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        there = present(negatives)
        near = self._similarity(at_least_float32(positives))
        far = self._similarity(at_least_float32(negatives).masked_fill(~there, 0.0))
        return infonce(near, far.masked_fill(~there, -torch.inf), self.temperature)

    def _similarity(self, cosines: torch.Tensor) -> torch.Tensor:
        squared = 2 - 2 * cosines
        return -squared if self.gamma == 2 else -squared.clamp(min=_FLAT).pow(self.gamma / 2)
