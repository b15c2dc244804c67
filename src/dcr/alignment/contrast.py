"""The loss that a model was trained by to bring images and their captions together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone


@dataclass(frozen=True)
class Contrast:
    """CLIP's symmetric cross entropy, or SigLIP's sigmoid loss.

    Source: arXiv 2103.00020, figure 3, and arXiv 2303.15343, eq. 1.

    Attributes:
        scale: factor on the cosines, already exponentiated.
        bias: addend on the scaled cosines in SigLIP's loss; None means CLIP's.
    """

    scale: float
    bias: float | None = None

    @classmethod
    def of(cls, backbone: Backbone) -> Contrast:
        """Return the loss that ``backbone`` was trained by, with the model's own scale and bias."""
        return cls(backbone.logit_scale, backbone.logit_bias if backbone.has_sigmoid_loss else None)

    def __call__(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch of pairs.

        Args:
            images: image embeddings, (B, d), of any length: they are normalised here.
            texts: text embeddings, (B, d), likewise; row i belongs to image i and to no other.
        """
        logits = self.scale * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
        if self.bias is not None:
            signs = 2 * torch.eye(len(logits), device=logits.device, dtype=logits.dtype) - 1
            return -F.logsigmoid(signs * (logits + self.bias)).sum() / len(logits)
        own = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2

    @torch.no_grad()
    def held_out(self, images: torch.Tensor, texts: torch.Tensor, batch_size: int) -> float:
        """Return the mean loss over all pairs, in batches of nearly equal size.

        The number of wrong texts that an image meets decides about the loss, so the batches are the
        same at every call.

        Args:
            images: image embeddings, (N, d), of any length.
            texts: text embeddings, (N, d), likewise; row i belongs to image i.
            batch_size: pairs of one batch at most.
        """
        num_batches = -(-len(images) // batch_size)
        batches = zip(
            images.tensor_split(num_batches), texts.tensor_split(num_batches), strict=True
        )
        return sum(len(i) * self(i, t).item() for i, t in batches) / len(images)
