"""The one decoder: encoded bytes, or an opened PIL image, to the RGB pixels that every part of the
project sees.

Validation measures these pixels, CLIP and the VAE are given crops of them, evaluation and
``dcr.load_encoder`` embed them, pages show them:

- The picture stands as its EXIF or XMP orientation says.
- Transparency is composed, as it is stored, on white. That is no parameter: an exported encoder is
  used where no recipe is, and must see what it was trained on.
- 16 bits a channel are scaled to 8, by their high byte. 32-bit integers are read as 16 bits and
  floats as 0 to 1, and values outside are refused: only whoever made them knows what white is.
- Of several frames or pictures the first is taken.
- Colour profiles are not applied, as they are not in open_clip, transformers and torchvision; CMYK,
  YCbCr, HSV, LAB and palettes are converted by Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from dcr.data.shards.image_bytes import CostlyImage, check_image_bytes
from dcr.errors import UserError

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "GIF",
)  # fewer decoders are a smaller surface for hostile bytes
MAX_PIXELS = 178_956_970  # beyond it Pillow refuses to open an image

_WHITE = 255
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation
_OTHER_FORMATS = (
    b"ii*\0",
    b"mm\0*",
    b"<svg",
    b"<?xml",
    b"<!doc",
    b"<html",
    b"\0\0\0\x0cjp",
    b"\xff\x0a",
    b"%pdf",
)


class DecodingError(UserError):
    """A picture that cannot be decoded; ``reason`` names why as in `dcr.validation.reasons`,
    ``detail`` tells it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple:
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


def decode_rgb(
    content: bytes, max_pixels: int = MAX_PIXELS, side: int | None = None
) -> Image.Image:
    """Return the RGB image that encoded bytes hold.

    Args:
        content: a file of one of `FORMATS`.
        max_pixels: that its header may declare.
        side: where as many pixels a side are enough, as for previews, a JPEG may be decoded
            smaller; None for all.

    Raises:
        DecodingError: it cannot be decoded.
    """
    with open_picture(content, max_pixels) as image:
        if side is not None:
            image.draft(None, (side, side))
        return _as_rgb(develop(image, max_pixels).image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return ``image``, of PIL and of any mode, opened or made, as `decode_rgb` returns its file.

    A colour that stands for transparency counts only in an image as its file gave it: Pillow hands
    it on to converted copies, where other pixels may have that colour.

    Raises:
        DecodingError: it cannot be decoded, or its values have no defined white.
    """
    if not isinstance(image, Image.Image):
        raise DecodingError(
            "image_corrupt", f"expected a PIL image, got {type(image).__name__}: open it with PIL"
        )
    with _named_errors(b""):
        return _as_rgb(develop(image).image)


def read_size(content: bytes) -> tuple[int, int]:
    """Return width and height in pixels of the upright picture in an image file's ``content``, by
    its header alone.

    Raises:
        DecodingError: no decoder knows them.
    """
    with open_picture(content) as image:
        turned = (_orientation(image) or 0) >= 5
        return image.size[::-1] if turned else image.size


@contextmanager
def open_picture(content: bytes, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open ``content``, an image file of which the header alone is read; it may declare
    ``max_pixels`` at most.

    Raises:
        DecodingError: at opening, or in place of whatever the decoders raise within the context.
    """
    with _named_errors(content):
        check_image_bytes(content)
        _check_webp_size(content, max_pixels)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            yield image


def develop(image: Image.Image, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode an opened ``image`` of at most ``max_pixels``; may raise anything, as decoders do."""
    _check_size(*image.size, max_pixels)
    depth = _png_depth(image)
    image.load()
    orientation = _orientation(image)
    colours, alpha = _split_alpha(image, depth)
    transparent = alpha is not None and alpha.getextrema()[0] < 255
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


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _split_alpha(image: Image.Image, depth: int) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours of a loaded image, ``RGB`` or ``L``, and its opacity, ``L``, if it
    states one.
    """
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
    if (
        depth < 8
    ):  # the key is in the units of the file, its pixels were scaled; of one bit Pillow scales both
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
    """Return the bits a channel of a PNG that is not loaded yet, else 8: other formats have no
    more.
    """
    mode = image.tile[0].args if image.format == "PNG" and getattr(image, "tile", None) else ""
    bits = mode.partition(";")[2] if isinstance(mode, str) else ""
    return {"1": 1, "2": 2, "4": 4, "16B": 16}.get(bits, 8)


def _orientation(image: Image.Image) -> int | None:
    try:  # not a PNG's own method, which decodes it
        value = Image.Image.getexif(image).get(0x0112)
    except Exception:  # a broken EXIF block does not make the picture worse
        return None
    return value if isinstance(value, int) else None


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Image.DecompressionBombError(
            f"{width} x {height} pixels exceed the cap of {max_pixels}"
        )


def _check_webp_size(content: bytes, max_pixels: int) -> None:
    """Check an extended WebP before Pillow opens it, because its decoder reserves the canvas on
    opening.
    """
    if content[:4] == b"RIFF" and content[8:16] == b"WEBPVP8X" and len(content) >= 30:
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        _check_size(width, height, max_pixels)


@contextmanager
def _named_errors(content: bytes) -> Iterator[None]:
    try:
        yield
    except DecodingError:
        raise
    except UnidentifiedImageError as exc:  # whose text holds an address in memory
        reason = "unsupported_format" if _is_other_format(content) else "image_corrupt"
        raise DecodingError(reason, f"it is none of {', '.join(FORMATS)}") from exc
    except Exception as exc:  # decoders of hostile bytes raise nearly anything
        raise DecodingError(_reason(exc), f"{type(exc).__name__}: {exc}") from exc


def _reason(exc: Exception) -> str:
    if isinstance(exc, CostlyImage):
        return "image_too_costly"
    if isinstance(exc, Image.DecompressionBombError):
        return "too_many_pixels"
    return "image_truncated" if "truncated" in str(exc).lower() else "image_corrupt"


def _is_other_format(content: bytes) -> bool:
    start = content[:64].lstrip().lower()
    return content[4:8] == b"ftyp" or start.startswith(_OTHER_FORMATS)
