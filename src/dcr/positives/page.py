"""How like their anchors made positives are: numbers, and pictures for an offline page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from dcr.losses.numerics import unit_vectors
from dcr.pages import to_data_uri

if TYPE_CHECKING:
    from dcr.latents import LatentCache

Encode = Callable[[torch.Tensor], torch.Tensor]
"""pixels (N, 3, H, W) in [0, 1] -> image features (N, d)."""


def measure_likeness(
    anchors: torch.Tensor,
    candidates: torch.Tensor,
    features: torch.Tensor,
    candidate_features: torch.Tensor,
) -> dict[str, float]:
    """Return means over anchors and candidates, own against those of other anchors.

    Args:
        anchors: pixels in [0, 1], (N, 3, H, W), N >= 2.
        candidates: of each anchor, (N, K, 3, H, W).
        features: of the anchors, (N, d).
        candidate_features: of the candidates, (N, K, d).

    Returns:
        ``feature_cosine`` and ``unrelated_feature_cosine``; ``pixel_difference``, the mean absolute
        difference of pixels, ``least_pixel_difference``, the smallest of any candidate to its
        anchor (0 would be a copy), and ``unrelated_pixel_difference``.
    """
    cosines = torch.einsum(
        "nd,mkd->nmk", unit_vectors(features), unit_vectors(candidate_features, 2)
    )
    apart = torch.stack([(anchor - candidates).abs().mean(dim=(2, 3, 4)) for anchor in anchors])
    own = torch.eye(len(anchors), dtype=torch.bool)
    return {
        "feature_cosine": cosines[own].mean().item(),
        "unrelated_feature_cosine": cosines[~own].mean().item(),
        "pixel_difference": apart[own].mean().item(),
        "least_pixel_difference": apart[own].min().item(),
        "unrelated_pixel_difference": apart[~own].mean().item(),
    }


def show_candidates(
    latents: LatentCache, candidates: LatentCache, encode: Encode, num_examples: int
) -> dict[str, Any]:
    """Return ``measures`` and ``rows`` of some images, evenly spread over the cache.

    A row has a ``key``, and ``images`` as data URIs, the anchor first.

    Args:
        latents, candidates: caches of the same samples in the same order.
        encode: gives the features that cosines are taken of.
        num_examples: how many images, at most all.
    """
    count = min(num_examples, len(latents))
    positions = np.linspace(0, len(latents) - 1, count).astype(int).tolist()
    anchors = torch.stack([_pixels(latents[position]["crop"]) for position in positions])
    made = torch.stack(
        [
            torch.stack(
                [
                    _pixels(candidates[position, n]["crop"])
                    for n in range(candidates.crops_per_image)
                ]
            )
            for position in positions
        ]
    )
    found = torch.stack([encode(own) for own in made])
    measures = measure_likeness(anchors, made, encode(anchors), found)
    rows = [
        {"key": latents.key(position), "images": [_picture(image) for image in (anchor, *own)]}
        for position, anchor, own in zip(positions, anchors, made, strict=True)
    ]
    return {"measures": measures, "rows": rows}


def _pixels(crop: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(crop.copy()).permute(2, 0, 1).float() / 255


def _picture(pixels: torch.Tensor) -> str:
    array = (pixels * 255).round().byte().permute(1, 2, 0).numpy()
    return to_data_uri(Image.fromarray(array))
