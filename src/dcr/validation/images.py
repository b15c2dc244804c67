"""Encoded images measured: header, full decode, luminance and perceptual hash, with bounded memory."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from dcr.shards.image_bytes import CostlyImage, check_image_bytes

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
    """Return the measures of one encoded image, see `measure_images`."""
    return measure_images([content], max_pixels)[0]


def measure_images(contents: list[bytes | None], max_pixels: int) -> list[ImageMeasures]:
    """Return the measures of encoded images; decode those that declare at most ``max_pixels``, one at a time.

    Never raises for what the bytes hold: a failure is named in ``reason`` and told in ``decode_error``. Of None
    nothing is known. Many at once are measured faster than one by one: small arrays cost the same as small batches.
    """
    found = [(ImageMeasures(), None) if content is None else _decode(content, max_pixels) for content in contents]
    decoded = [measures for measures, grey in found if grey is not None]
    if decoded:
        counts, small = zip(*(grey for _, grey in found if grey is not None), strict=True)
        means, spreads = _mean_and_spread(np.array(counts, np.float64))
        hashes = perceptual_hashes(np.stack([np.asarray(image) for image in small]))
        for measures, mean, spread, phash in zip(decoded, means, spreads, hashes, strict=True):
            measures.luminance_mean, measures.luminance_spread, measures.phash = mean, spread, phash
    return [measures for measures, _ in found]


def _decode(content: bytes, max_pixels: int) -> tuple[ImageMeasures, tuple[list[int], Image.Image] | None]:
    """Return what the decoder tells, and of the grey image the histogram and a copy of 32 x 32."""
    measures, grey = ImageMeasures(), None
    try:
        check_image_bytes(content)
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
            grey = _reduce(image)
    except Exception as exc:  # decoders of hostile bytes raise nearly anything
        measures.reason = _reason(exc, content)
        measures.decode_error = f"{type(exc).__name__}: {_without_addresses(exc)}"
    return measures, grey


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


def _reduce(image: Image.Image) -> tuple[list[int], Image.Image]:
    """Return the histogram of a decoded image's luminance and a copy averaged to 32 x 32."""
    if image.mode.startswith("I"):  # 16 bits: Pillow would clip, not scale
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    grey = image if image.mode == "L" else image.convert("L")
    return grey.histogram(), grey.resize((32, 32), Image.Resampling.BOX)


def _mean_and_spread(counts: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation, to three places, of histograms (N, 256) of levels 0 to 255."""
    levels, total = np.arange(256.0), counts.sum(axis=1)
    mean = counts @ levels / total
    variance = ((counts @ levels**2) / total - mean**2).clip(min=0)
    return mean.round(3).tolist(), np.sqrt(variance).round(3).tolist()


def perceptual_hashes(small: np.ndarray) -> list[str]:
    """Return the 64-bit DCT hashes, each 16 hex digits, of grey images averaged to 32 x 32: (N, 32, 32).

    Of an image's type-II DCT the lowest 8 x 8 coefficients are compared with their median (Zauner, "Implementation
    and Benchmarking of Perceptual Image Hash Functions", 2010).
    """
    low = (_DCT @ small.astype(np.float64) @ _DCT.T).reshape(-1, 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return [row.tobytes().hex() for row in np.packbits(bits, axis=1)]


_DCT = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5))


def _reason(exc: Exception, content: bytes) -> str:
    if isinstance(exc, CostlyImage):
        return "image_too_costly"
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
