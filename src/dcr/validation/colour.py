"""Whether a picture that is stored in colour shows any.

Colour is looked for at an eighth of the size, where noise is averaged away, and one place that has
it decides. So of a JPEG half a kilobyte is most often enough: blocks of sky, of paper or of a black
bar take few bytes, and those behind them come soon.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dcr.data.shards.image_bytes import find_frame_and_scan

_NEUTRAL = 6  # levels by which the channels of a grey picture differ: a scan's or a codec's tint
_SHRINK = 8  # what a JPEG decoder does for next to nothing: of each block its mean alone
# Bytes of a JPEG's scan, and rows of it, to try before the whole.
_BEGINNINGS = ((512, 32), (8192, 512))
_END_OF_IMAGE = b"\xff\xd9"  # a decoder takes what it lacks for grey


def shows_no_colour(image: Image.Image) -> bool:
    """Tell whether all of an ``image`` of mode RGB is grey."""
    return _is_neutral(image.reduce(_SHRINK))


def jpeg_shows_no_colour(content: bytes) -> bool:
    """Tell whether all of a JPEG, of whose ``content`` the luma alone was decoded, is grey."""
    try:
        return all(_is_neutral(_shrink(part)) for part in _beginnings(content))
    except Exception:  # a decoder of hostile bytes: what cannot be looked at is not grey
        return False


def _beginnings(content: bytes) -> Iterator[bytes]:
    """Yield ever longer beginnings of a JPEG, each a JPEG itself, and all of it at last."""
    if (found := find_frame_and_scan(content)) is not None:
        frame, scan = found
        height = content[frame + 5 : frame + 7]
        for size, rows in _BEGINNINGS:
            if scan + size < len(content):
                fewer = min(height, rows.to_bytes(2, "big"))
                head = content[: frame + 5] + fewer + content[frame + 7 : scan + size]
                yield head + _END_OF_IMAGE
    yield content


def _shrink(content: bytes) -> Image.Image:
    with JpegImageFile(io.BytesIO(content)) as image:
        image.draft(None, (1, 1))
        image.load()
        return image


def _is_neutral(image: Image.Image) -> bool:
    lows, highs = zip(*image.getextrema(), strict=True)
    if max(max(lows) - min(lows), max(highs) - min(highs)) > _NEUTRAL:  # told quickly, most often
        return False
    levels = np.asarray(image)
    return int((levels.max(axis=2) - levels.min(axis=2)).max()) <= _NEUTRAL
