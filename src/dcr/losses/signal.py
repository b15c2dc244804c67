"""A contrastive signal maps similarities to positives and negatives to a loss per anchor.

Notation: B anchors, P positives and N negatives of each, x = s / tau a logit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch

Layout = Literal["other_views", "all_views", "same_view"]


class Signal(ABC):
    """A contrastive loss over given cosine similarities.

    Subclasses are dataclasses of their own parameters.

    Attributes:
        whole_batch: the loss of an anchor depends on other anchors' similarities, so that anchors
            cannot be walked in chunks.
        negatives_from: which of the other images' views stand against an anchor when the signal is
            used on image features, see `dcr.losses.features`.
    """

    whole_batch: ClassVar[bool] = False
    negatives_from: ClassVar[Layout] = "other_views"

    @abstractmethod
    def __call__(self, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        """Return the loss of each anchor.

        Args:
            positives: similarities of each anchor to its positives, (B, P).
            negatives: similarities of each anchor to its negatives, (B, N); -inf where there is
                none. Every anchor has at least one.

        Returns:
            Loss per anchor, (B,), at least float32.
        """
