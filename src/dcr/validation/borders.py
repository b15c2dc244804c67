"""Bars and margins of one level at a picture's edges: how much they take, and writing on them.

Both are measured on luminance at about the size that an encoder sees, as
`dcr.validation.looks.reduce` gives it.
"""

from __future__ import annotations

import numpy as np

_FLAT = 4  # levels within which a line of a border lies; JPEG rings by about as much
_INK = 24  # levels from the border's own beyond which a pixel is written on
_MOST_INK = 0.5  # of a line; what covers more is the picture, unless it comes in strokes
_WIDEST = 6  # pixels of a stroke, in the mean over a line; what a picture shows is wider
_CHANGES = 10  # between border and ink along a line of writing: five strokes
_LINES = 3  # of writing, one above the other: lower letters cannot be read
_MOST = 0.4  # of the picture's side


def has_flat_edge(grey: np.ndarray) -> bool:
    """Tell whether an edge of a picture (h, w), uint8, shows nothing: else it has no border."""
    return any(_is_flat(line) for line in (grey[0], grey[-1], grey[:, 0], grey[:, -1]))


def flat_border(grey: np.ndarray) -> float:
    """Return the share of the area in rows and columns at the edges that show nothing, 0 to 1.

    As of a film's black bars, or a scan's white margin. The content between them is not looked at.

    Args:
        grey: luminance (h, w), uint8.
    """
    kept = 1.0
    for lines in (grey, grey.T):
        if _is_flat(lines[0]) or _is_flat(lines[-1]):
            shows = np.flatnonzero(np.ptp(lines, axis=1) > _FLAT)
            span = shows[-1] - shows[0] + 1 if len(shows) else 0
            kept *= span / len(lines)
    return round(1 - kept, 3)


def text_border(grey: np.ndarray) -> float:
    """Return the share of the area in bars and margins at the edges that bear writing, 0 to 1.

    Such a border begins and ends with lines of one level, between which there are lines of many
    short strokes; a page of writing has them, too. Writing over the picture itself is not looked
    for.

    Args:
        grey: luminance (h, w), uint8.
    """
    kept = 1.0
    for lines in (grey, grey.T):
        both = sum(_written_lines(side) for side in (lines, lines[::-1]) if _is_flat(side[0]))
        kept *= 1 - both / len(lines)
    return round(1 - kept, 3)


def _written_lines(lines: np.ndarray) -> int:
    """Return how many of ``lines``, (n, m), are a border with writing that begins at the first."""
    level = int(np.median(lines[0]))
    near = lines[: int(_MOST * len(lines))].astype(np.int16)
    apart = np.abs(near - level)
    inked = apart > _INK
    # Small letters run into each other where the picture was reduced, but not at half their level.
    strokes = apart > np.maximum(_INK, apart.max(axis=1, keepdims=True) // 2)
    changes = (strokes[:, 1:] != strokes[:, :-1]).sum(axis=1)
    is_wide = strokes.sum(axis=1) > _WIDEST * np.maximum(1, changes / 2)
    is_picture = (inked.mean(axis=1) > _MOST_INK) & is_wide
    stop = int(is_picture.argmax()) if is_picture.any() else len(near)
    blank = np.flatnonzero(~inked[:stop].any(axis=1))
    end = int(blank[-1]) + 1 if len(blank) else 0
    return end if (changes[:end] >= _CHANGES).sum() >= _LINES else 0


def _is_flat(line: np.ndarray) -> bool:
    return int(line.max()) - int(line.min()) <= _FLAT
