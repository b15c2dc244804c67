"""What a picture that decodes well shows: too dark, too bright, nearly nothing, blurred.

All of it is measured on luminance, from the histogram that validation has anyhow, or from a copy of
at most `SIDE` px, about what an encoder sees: a blur that is gone at that size is none for it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 256


def luminance_ends(counts: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the 5th and the 99th percentile of luminance, (N,) each, in levels of 0 to 255.

    A picture is dark if nearly all of it is, and bright likewise, so the ends count and not the
    mean (as in CleanVision's dark and light, https://github.com/cleanlab/cleanvision).

    Args:
        counts: histograms (N, 256).
    """
    shares = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    ends = [(shares >= share).argmax(axis=1).astype(float).tolist() for share in (0.05, 0.99)]
    return ends[0], ends[1]


def entropies(counts: np.ndarray) -> list[float]:
    """Return the Shannon entropy of luminance, (N,) in bits, 0 to 8.

    Args:
        counts: histograms (N, 256).
    """
    shares = counts / counts.sum(axis=1, keepdims=True)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    rounded: list[float] = (-(shares * logs).sum(axis=1) + 0.0).round(3).tolist()
    return rounded


def reduce(grey: Image.Image) -> Image.Image:
    """Return a picture of mode L averaged, by a whole number of pixels, to at most `SIDE` px."""
    factor = -(-max(grey.size) // SIDE)
    return grey.reduce(factor) if factor > 1 else grey


def middle(grey: np.ndarray) -> np.ndarray:
    """Return the middle half of the rows of ``grey`` (h, w), where most pictures show what they are
    of."""
    quarter = len(grey) // 4
    return grey[quarter : len(grey) - quarter]


def sharpness(grey: np.ndarray) -> float:
    """Return the variance of the Laplacian, which falls with blur.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000. It is taken at
    every second pixel of every second row: a quarter of the work, and the same to a few percent.

    Args:
        grey: luminance (h, w), uint8. A picture of under 3 px a side has no Laplacian, and gives 0.
    """
    if min(grey.shape) < 3:
        return 0.0
    levels = grey.astype(np.int16)
    rows, columns = (slice(1, length - 1, 2) for length in grey.shape)
    before, after = slice(0, -2, 2), slice(2, None, 2)
    laplacian = 4 * levels[rows, columns]
    laplacian -= levels[before, columns]
    laplacian -= levels[after, columns]
    laplacian -= levels[rows, before]
    laplacian -= levels[rows, after]
    values = laplacian.ravel().astype(np.float32)
    return round(float(values @ values) / len(values) - float(values.mean()) ** 2, 3)
