"""What a contrast is that needs image features themselves, and not only their similarities."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from dcr.losses.numerics import unit_vectors


class FeatureSignal(ABC):
    """A loss over image features of several views.

    Subclasses are dataclasses of their own parameters.
    """

    def __call__(self, views: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the loss of each anchor, the mean over the other views of its image.

        Args:
            views: image embeddings before L2 normalisation, (V, B, d), V >= 2.
            generator: on the CPU, for signals that draw.

        Returns:
            Loss per anchor, (V * B,), views one after the other, at least float32.
        """
        units = unit_vectors(views, 2)
        losses = []
        for a, anchors in enumerate(units):
            against = [
                self.contrast(anchors, keys, generator) for b, keys in enumerate(units) if b != a
            ]
            losses.append(torch.stack(against).mean(dim=0))
        return torch.cat(losses)

    @abstractmethod
    def contrast(
        self, anchors: torch.Tensor, keys: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Return the loss of each anchor against another view of the batch, (B,).

        Args:
            anchors, keys: unit vectors, (B, d); row i of both is of image i.
            generator: on the CPU, for signals that draw.
        """
