"""InfoNCE over given similarities (van den Oord et al., arXiv 1807.03748), with any number of positives."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcr.losses.numerics import at_least_float32, require_positive
from dcr.losses.signal import Signal


def infonce(positives: torch.Tensor, negatives: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the loss of each anchor, averaged over its positives.

        loss_i = mean over p of  -s_ip / tau + log( sum_q exp(s_iq / tau) + sum_n exp(s_in / tau) )

    Every positive stays in the denominator, as in DCR (arXiv 2603.04803): with P positives the floor is log P.

    Args:
        positives: similarities of each anchor to its positives, (B, P).
        negatives: similarities of each anchor to its negatives, (B, N); -inf where there is none.
        temperature: tau > 0.

    Returns:
        Loss per anchor, (B,), at least float32.

    Raises:
        ValueError: temperature is not positive.
    """
    require_positive(temperature=temperature)
    positives, negatives = (
        at_least_float32(positives) / temperature,
        at_least_float32(negatives) / temperature,
    )
    log_denominator = torch.logsumexp(torch.cat([positives, negatives], dim=1), dim=1)
    return (log_denominator[:, None] - positives).mean(dim=1)


@dataclass(frozen=True)
class InfoNCE(Signal):
    """DCR's own contrast, see `infonce`."""

    temperature: float

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)

    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        return infonce(positives, negatives, self.temperature)
