"""An opened picture to upright, opaque pixels of 8 bits; the rules are `dcr.data.decoding`'s."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from dcr.errors import UserError

MAX_PIXELS = 178_956_970
"""Beyond it Pillow refuses to open an image."""

_WHITE = 255
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class DecodingError(UserError):
    """A picture that cannot be decoded.

    Args:
        reason: why, by a name of `dcr.validation.reasons`.
        detail: the same in words.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple[type[DecodingError], tuple[str, str]]:
        return DecodingError, (self.reason, str(self))


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        image: upright and opaque, 8 bits a channel; ``RGB``, or ``L`` where the three channels
            would be equal.
        orientation: as EXIF or XMP states it, 2 to 8 where the stored picture was turned or
            mirrored for ``image``.
        transparent: some of it was transparent.
        high_bit_depth: it had more than 8 bits a channel.
    """

    image: Image.Image
    orientation: int | None
    transparent: bool
    high_bit_depth: bool

    @property
    def changes(self) -> tuple[str, ...]:
        """What was changed, in the words of `dcr.validation.reasons`."""
        rotated = self.orientation in _TURNS
        changes = {
            "rotated": rotated,
            "transparent": self.transparent,
            "high_bit_depth": self.high_bit_depth,
        }
        return tuple(name for name, changed in changes.items() if changed)


def develop(image: Image.Image, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode an opened ``image`` of at most ``max_pixels``; may raise anything, as decoders do."""
    check_size(*image.size, max_pixels)
    depth = _png_depth(image)
    image.load()
    orientation = read_orientation(image)
    colours, alpha = _split_alpha(image, depth)
    transparent = alpha is not None and np.asarray(alpha).min() < 255
    if transparent:
        opaque = Image.new(colours.mode, colours.size, (_WHITE,) * len(colours.getbands()))
        opaque.paste(colours, mask=alpha)
        colours = opaque
    if orientation in _TURNS:
        colours = colours.transpose(_TURNS[orientation])
        colours.info.clear()  # or it would be turned once more
    return Picture(
        colours, orientation, transparent, depth > 8 or image.mode.startswith(("I", "F"))
    )


def _split_alpha(image: Image.Image, depth: int) -> tuple[Image.Image, Image.Image | None]:
    """Return a loaded image's colours, ``RGB`` or ``L``, and the opacity that it states, ``L``."""
    if image.mode in ("RGB", "L", "1") or image.mode.startswith(("I", "F")):
        alpha = _colour_key(image, depth)
        image = _to_8_bits(image)
        return (image.convert("L") if image.mode == "1" else image), alpha
    if not image.has_transparency_data:
        return image.convert("RGB"), None
    image = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
    return image.convert(image.mode[:-1]), image.getchannel("A")


def _colour_key(image: Image.Image, depth: int) -> Image.Image | None:
    """Return the opacity that one transparent colour of an image's file means."""
    key = image.info.get("transparency")
    if key is None or image.format is None:
        return None
    if depth < 8:
        # The key is in the units of the file, its pixels were scaled; of 1 bit Pillow scales both.
        key = key * 255 // (2**depth - 1) if image.mode == "L" else key
    elif depth == 16 and image.mode == "RGB":
        key = tuple(value >> 8 for value in key)
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    same = pixels == np.asarray(key)
    return Image.fromarray(
        np.where(same.all(axis=-1) if same.ndim == 3 else same, 0, 255).astype(np.uint8)
    )


def _to_8_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    white = 1 if image.mode == "F" else 65535
    if image.mode in ("I", "F") and not (values.min() >= 0 and values.max() <= white):
        raise DecodingError(
            "unsupported_format",
            f"mode {image.mode} is read as 0 (black) to {white} (white), and some values lie"
            " outside: save 8 bits",
        )
    scaled = np.rint(values * 255.0) if image.mode == "F" else values >> 8
    return Image.fromarray(scaled.astype(np.uint8))


def _png_depth(image: Image.Image) -> int:
    """Return the bits a channel of a PNG that is not loaded yet, else 8: others have no more."""
    tiles = getattr(image, "tile", None) if image.format == "PNG" else None
    mode = tiles[0].args if tiles else ""
    bits = mode.partition(";")[2] if isinstance(mode, str) else ""
    return {"1": 1, "2": 2, "4": 4, "16B": 16}.get(bits, 8)


def read_orientation(image: Image.Image) -> int | None:
    """Return what an opened ``image`` states in EXIF or XMP, None if it states nothing readable."""
    try:  # not a PNG's own method, which decodes it
        value = Image.Image.getexif(image).get(0x0112)
    except Exception:  # a broken EXIF block does not make the picture worse
        return None
    return value if isinstance(value, int) else None


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise Image.DecompressionBombError if ``width`` times ``height`` exceeds ``max_pixels``."""
    if width * height > max_pixels:
        raise Image.DecompressionBombError(
            f"{width} x {height} pixels exceed the cap of {max_pixels}"
        )
