"""Patch tokens of images with masks, batch by batch: too large to be kept.

Of Pascal VOC's 2913 images ViT-L/14 at 336 px gives 6.9 GB of tokens, where their embeddings take
9 MB. What follows from them is small, and that is kept: see `dcr.evaluation.segmentation`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from dcr.data.benchmark_sets import MaskedSample, Part
from dcr.data.mask_geometry import place_mask
from dcr.errors import UserError
from dcr.evaluation.embedding import Embedder
from dcr.metrics.segmentation import IGNORED
from dcr.progress import show_progress

_LAYER = -2  # what LLaVA reads: the last block but one, without the tower's final norm
_IMAGES = 32  # at once: some libraries hand out the tokens of all blocks to take those of one


@dataclass(frozen=True)
class TokenBatch:
    """Images as a tower sees them in patches, with their classes.

    Attributes:
        tokens: (B, g * g, w), float32, on the encoder's device.
        masks: (B, S, S) uint8: of the pixels that patches cover, of which g divides S.
    """

    tokens: torch.Tensor
    masks: np.ndarray

    @property
    def patches_a_side(self) -> int:
        """The side g of the grid of patches."""
        return math.isqrt(self.tokens.shape[1])


def read_tokens(
    embedder: Embedder, parts: Iterable[Part], description: str
) -> Iterator[TokenBatch]:
    """Yield the patch tokens of all images of ``parts`` in order, with their masks.

    Tokens are those that LLaVA reads, see `Backbone.encode_tokens`; masks are resized and cropped
    as the images are, each pixel that of the nearest.

    Args:
        embedder: the encoder.
        parts: whose samples have masks.
        description: for the progress bar and for errors.

    Raises:
        UserError: an image or mask is broken, a token is not finite, or the tower's patches make no
            square.
    """
    with show_progress(desc=description, unit="image", leave=False) as progress:
        for part in parts:
            masks = embedder.prepared(part, lambda sample: _mask(embedder, sample), "masks")
            for pixels in _batches(embedder.pixels(part), min(embedder.batch_size, _IMAGES)):
                tokens = _encode(embedder, torch.stack(pixels), description)
                placed = np.stack([mask.numpy() for mask in islice(masks, len(pixels))])
                yield TokenBatch(tokens, _covered(placed, math.isqrt(tokens.shape[1])))
                progress.update(len(pixels))


def _mask(embedder: Embedder, sample: MaskedSample) -> torch.Tensor:
    return torch.from_numpy(place_mask(sample.classes, embedder.backbone.preprocessing, IGNORED))


def _batches(pixels: Iterator[torch.Tensor], size: int) -> Iterator[list[torch.Tensor]]:
    while batch := list(islice(pixels, size)):
        yield batch


def _encode(embedder: Embedder, pixels: torch.Tensor, description: str) -> torch.Tensor:
    backbone = embedder.backbone
    with torch.inference_mode():
        tokens = backbone.encode_tokens(pixels.to(backbone.device), _LAYER)[1].float()
        is_finite = bool(torch.isfinite(tokens).all())
    if not is_finite:
        raise UserError(f"the encoder gives NaN or infinity for {description}: train it again")
    if tokens.ndim != 3 or math.isqrt(tokens.shape[1]) ** 2 != tokens.shape[1]:
        raise UserError(
            f"the tower of {backbone.source} has no square grid of patch tokens (it gives"
            f" {tuple(tokens.shape[1:])} an image): take the set {description} off its evaluation"
        )
    return tokens


def _covered(masks: np.ndarray, patches_a_side: int) -> np.ndarray:
    """Return the pixels that patches cover.

    384 px are 27 patches of 14 px, and 6 px that no patch reads, right and below.
    """
    side = masks.shape[1] // patches_a_side * patches_a_side
    return masks[:, :side, :side]
