"""What a step's samples are read from: latents, and of each sample what lies elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from dcr.latents import LatentCache, OnlineLatents

if TYPE_CHECKING:
    from dcr.training.features import TowerFeatures

Collated = dict[str, Any]
"""A sample, or what `dcr.training.data.collate` makes of some: arrays and keys by name."""


class Extended(ABC):
    """Samples, and of each what lies elsewhere.

    Args:
        latents: the samples.
    """

    def __init__(self, latents: LatentCache | OnlineLatents) -> None:
        self._latents = latents

    def __len__(self) -> int:
        return len(self._latents)

    def __getitem__(self, place: tuple[int, int]) -> Collated:
        return {**self._latents[place], **self.more(place)}

    @abstractmethod
    def more(self, place: tuple[int, int]) -> Collated:
        """Return what is added to the sample at ``place``, (position, epoch), by name."""

    @property
    def weights(self) -> dict[str, float]:
        """See `dcr.latents.LatentCache.weights`."""
        return self._latents.weights

    def source(self, position: int) -> str:
        """Return the name of the source of the sample at ``position``."""
        return self._latents.source(position)


class WithCandidates(Extended):
    """Samples with one positive that was made of each, another one every epoch.

    Args:
        latents: the samples.
        candidates: positives made of the same samples, in the same order.
    """

    def __init__(self, latents: LatentCache | OnlineLatents, candidates: LatentCache) -> None:
        super().__init__(latents)
        self._candidates = candidates

    def more(self, place: tuple[int, int]) -> Collated:
        """Return the ``candidate``, uint8 (H, W, 3)."""
        return {"candidate": self._candidates[place]["crop"]}


class WithFeatures(Extended):
    """Samples with what the frozen tower says of each crop.

    Args:
        latents: the samples.
        features: of their crops.
    """

    def __init__(self, latents: LatentCache, features: TowerFeatures) -> None:
        super().__init__(latents)
        self._features = features

    def more(self, place: tuple[int, int]) -> Collated:
        """Return the ``features``, float32 (d,)."""
        return {"features": self._features[place]}


Samples = LatentCache | OnlineLatents | Extended
"""What batches are loaded from: by place, or by place and epoch."""
