"""What a picture that decodes well shows: too dark, too bright, nearly nothing, blurred, framed.

All of it is measured on luminance, from the histogram that validation has anyhow, or from a copy of
at most `SIDE` px, about what an encoder sees: a blur that is gone at that size is none for it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 256
_FLAT = 4  # levels within which a line of a border lies; JPEG rings by about as much


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


def reduce(grey: Image.Image) -> np.ndarray:
    """Return a copy of a grey picture averaged to at most `SIDE` px, uint8 (h, w)."""
    factor = -(-max(grey.size) // SIDE)
    return np.asarray(grey.reduce(factor) if factor > 1 else grey)


def sharpness(grey: np.ndarray) -> float:
    """Return the variance of the Laplacian, which falls with blur.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000. It is taken at
    every second pixel of every second row: a quarter of the work, and the same to a few percent.

    Args:
        grey: luminance (h, w), uint8. A picture of under 3 px a side has no Laplacian, and gives 0.
    """
    if min(grey.shape) < 3:
        return 0.0
    rows, columns = (slice(1, length - 1, 2) for length in grey.shape)
    before, after = slice(0, -2, 2), slice(2, None, 2)
    around = grey[before, columns].astype(np.int16)
    for beside in (grey[after, columns], grey[rows, before], grey[rows, after]):
        around += beside
    laplacian = 4 * grey[rows, columns].astype(np.int16) - around
    return round(float(laplacian.astype(np.float32).var()), 3)


def flat_border(grey: np.ndarray) -> float:
    """Return the share of the area in rows and columns at the edges that show nothing, 0 to 1.

    As of a film's black bars, or a scan's white margin. The content between them is not looked at.

    Args:
        grey: luminance (h, w), uint8.
    """
    kept = 1.0
    for lines in (grey, grey.T):
        if _is_flat(lines[0]) or _is_flat(lines[-1]):  # of few pictures, so the rest is spared
            shows = np.flatnonzero(np.ptp(lines, axis=1) > _FLAT)
            span = shows[-1] - shows[0] + 1 if len(shows) else 0
            kept *= span / len(lines)
    return round(1 - kept, 3)


def _is_flat(line: np.ndarray) -> bool:
    return bool(np.ptp(line) <= _FLAT)
