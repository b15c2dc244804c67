"""What every part of a picture is painted with.

Lengths and canvas are those of `dcr.scenes.drawing`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from dcr.scenes.scenery import rgb
from dcr.scenes.world import DETAILS

WHITE = rgb("#fffdf5")
INK = rgb("#1b1b2a")


@lru_cache(maxsize=4)
def pixel_centres(image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the centres of pixels, (S, S) float32 in (0, 1), S being ``image_size``."""
    centres = (np.arange(image_size, dtype=np.float32) + 0.5) / image_size
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return x, y


def window(
    canvas: np.ndarray, left: float, top: float, right: float, bottom: float
) -> tuple[np.ndarray, ...]:
    """Return a view of the part of the canvas that a detail may cover, with its pixel centres.

    Painting less is faster.

    Args:
        canvas: (3, S, S). left, top, right, bottom: of the part.
    """
    size = canvas.shape[-1]
    part = np.s_[
        int(top * size) : math.ceil(bottom * size), int(left * size) : math.ceil(right * size)
    ]
    x, y = pixel_centres(size)
    return canvas[:, *part], x[part], y[part]


def paint(canvas: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> None:
    """Paint over ``canvas`` (3, S, S), in place.

    Args:
        canvas: what is painted on.
        alpha: (S, S), in [0, 1]: how much of each pixel is covered.
        colour: (3, 1, 1).
    """
    canvas += alpha * (colour - canvas)


def shows(attributes: Mapping[str, int], detail: str, words: str) -> bool:
    """Return whether the ``detail`` of ``attributes`` is what its ``words`` say."""
    return DETAILS[detail][attributes[detail]] == words
