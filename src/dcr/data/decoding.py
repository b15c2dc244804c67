"""The one decoder: encoded bytes, or an opened PIL image, to the RGB pixels that all others see.

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

from PIL import Image, UnidentifiedImageError

from dcr.data.developing import (
    MAX_PIXELS,
    DecodingError,
    check_size,
    develop,
    read_orientation,
)
from dcr.data.shards.image_bytes import CostlyImage, check_image_bytes

# Fewer decoders are a smaller surface for hostile bytes.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
_MARKUP = (b"<svg", b"<?xml", b"<!doc", b"<html")
_OTHER_FORMATS = (b"ii*\0", b"mm\0*", b"\0\0\0\x0cjp", b"\xff\x0a", b"%pdf", *_MARKUP)


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
    """Return width and height in pixels of the upright picture, by its header alone.

    Args:
        content: the image file's bytes.

    Raises:
        DecodingError: no decoder knows them.
    """
    with open_picture(content) as image:
        turned = (read_orientation(image) or 0) >= 5
        return image.size[::-1] if turned else image.size


@contextmanager
def open_picture(content: bytes, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open an image file, of which the header alone is read.

    Args:
        content: the file's bytes.
        max_pixels: that the header may declare at most.

    Raises:
        DecodingError: at opening, or in place of whatever the decoders raise within the context.
    """
    with _named_errors(content):
        check_image_bytes(content)
        _check_webp_size(content, max_pixels)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            yield image


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _check_webp_size(content: bytes, max_pixels: int) -> None:
    """Check an extended WebP before Pillow opens it: opening reserves the whole canvas."""
    if content[:4] == b"RIFF" and content[8:16] == b"WEBPVP8X" and len(content) >= 30:
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        check_size(width, height, max_pixels)


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
