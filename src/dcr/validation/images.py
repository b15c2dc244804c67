"""Encoded images measured: header, full decode, luminance and perceptual hash, with bounded memory."""

from __future__ import annotations

import io
from dataclasses import dataclass
from operator import mul

import numpy as np
from PIL import Image, UnidentifiedImageError

# Formats that the later steps decode. Fewer decoders are a smaller surface for hostile bytes.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")

_OTHER_FORMATS = (
    b"II*\0",
    b"MM\0*",
    b"<svg",
    b"<?xml",
    b"<!doc",
    b"<html",
    b"\0\0\0\x0cjP",
    b"\xff\x0a",
    b"%PDF",
)


@dataclass
class ImageMeasures:
    """What is known of one image; None for what could not be measured.

    ``luminance_mean`` and ``luminance_spread`` (standard deviation) are over all pixels, in 0 to 255: a colour JPEG's
    own luma, else Pillow's grey, which is the same formula (ITU-R BT.601) after rounding to RGB. ``phash`` is 64 bits
    in hex; ``reason`` is the name of what kept the image from being measured.
    """

    reason: str | None = None
    decode_error: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    exif_orientation: int | None = None
    animated: bool | None = None
    luminance_mean: float | None = None
    luminance_spread: float | None = None
    phash: str | None = None


def measure_image(content: bytes, max_pixels: int) -> ImageMeasures:
    """Return the measures of an encoded image; decode it only if it declares at most ``max_pixels``.

    Never raises for what the bytes hold: a failure is named in ``reason`` and told in ``decode_error``.
    """
    measures = ImageMeasures()
    try:
        _check_webp_size(content, max_pixels)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            measures.format, (measures.width, measures.height) = image.format, image.size
            measures.mode = image.mode
            _check_size(*image.size, max_pixels)
            measures.animated = bool(getattr(image, "is_animated", False))
            if luma_tells_all(image):
                image.draft("L", None)
            image.load()
            measures.exif_orientation = _orientation(image)
            _measure_luminance(image, measures)
    except Exception as exc:  # decoders of hostile bytes raise nearly anything
        measures.reason = _reason(exc, content)
        measures.decode_error = f"{type(exc).__name__}: {_without_addresses(exc)}"
    return measures


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Image.DecompressionBombError(f"{width} x {height} pixels exceed the cap of {max_pixels}")


def _check_webp_size(content: bytes, max_pixels: int) -> None:
    """Check an extended WebP before Pillow opens it, because its decoder reserves the canvas on opening."""
    if content[:4] == b"RIFF" and content[8:16] == b"WEBPVP8X" and len(content) >= 30:
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        _check_size(width, height, max_pixels)


def _orientation(image: Image.Image) -> int | None:
    try:
        value = image.getexif().get(0x0112)
    except Exception:  # a broken EXIF block does not make the picture worse
        return None
    return value if isinstance(value, int) else None


def luma_tells_all(image: Image.Image) -> bool:
    """Tell whether an opened image is a JPEG that can be decoded in colour if and only if its luma can.

    For luma alone libjpeg reads and checks every bit of the colours too and omits what comes after: their transforms,
    which cannot fail, and their enlargement, which fails for factors that are not whole.
    """
    if image.format != "JPEG" or image.mode != "RGB":
        return False
    factors = zip(*((across, down) for _, across, down, _ in image.layer), strict=True)
    return all(min(sides) > 0 and not any(max(sides) % side for side in sides) for sides in factors)


def _measure_luminance(image: Image.Image, measures: ImageMeasures) -> None:
    if image.mode.startswith("I"):  # 16 bits: Pillow would clip, not scale
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    grey = image if image.mode == "L" else image.convert("L")
    counts = grey.histogram()  # exact in whole numbers, and for 256 of them faster than through NumPy
    total, first, second = sum(counts), sum(map(mul, counts, _LEVELS)), sum(map(mul, counts, _SQUARES))
    measures.luminance_mean = round(first / total, 3)
    measures.luminance_spread = round((total * second - first**2) ** 0.5 / total, 3)
    measures.phash = perceptual_hash(grey)


def perceptual_hash(grey: Image.Image) -> str:
    """Return the 64-bit DCT hash of a mode L image as 16 hex digits.

    The image is averaged to 32 x 32; of its type-II DCT the lowest 8 x 8 coefficients are compared with their
    median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).
    """
    pixels = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), np.float64)
    low = (_DCT @ pixels @ _DCT.T).ravel().tolist()
    median = sum(sorted(low)[31:33]) / 2
    return f"{int(''.join(['1' if value > median else '0' for value in low]), 2):016x}"


_LEVELS = range(256)
_SQUARES = [level**2 for level in _LEVELS]
_DCT = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5))


def _reason(exc: Exception, content: bytes) -> str:
    if isinstance(exc, Image.DecompressionBombError):
        return "too_many_pixels"
    if isinstance(exc, UnidentifiedImageError):
        return "unsupported_format" if _is_other_format(content) else "image_corrupt"
    return "image_truncated" if "truncated" in str(exc).lower() else "image_corrupt"


def _is_other_format(content: bytes) -> bool:
    start = content[:64].lstrip().lower()
    return content[4:8] == b"ftyp" or start.startswith(tuple(magic.lower() for magic in _OTHER_FORMATS))


def _without_addresses(exc: Exception) -> str:
    """Pillow names the object it read from, whose address differs from run to run."""
    if isinstance(exc, UnidentifiedImageError):
        return "no decoder knows these bytes"
    return str(exc)
