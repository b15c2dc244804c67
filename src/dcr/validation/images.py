"""Measure encoded images: header, full decode, luminance, perceptual hash; in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dcr.data.decoding import open_picture
from dcr.data.developing import DecodingError, develop
from dcr.validation.borders import flat_border, has_flat_edge, text_border
from dcr.validation.colour import jpeg_shows_no_colour, shows_no_colour
from dcr.validation.looks import entropies, luminance_ends, middle, reduce, sharpness


@dataclass
class ImageMeasures:
    """What is known of one image; None for what could not be measured.

    Measured are the pixels of `dcr.data.decoding`, which training and evaluation see: ``width`` and
    ``height`` are those of the upright picture (the header's where it could not be decoded), and
    ``changes`` names what decoding did to it. ``mode`` is the file's own. ``luminance_mean`` and
    ``luminance_spread`` (standard deviation) are over all pixels, in 0 to 255: a colour JPEG's own
    luma, else Pillow's grey, which is the same formula (ITU-R BT.601) after rounding to RGB.
    ``luminance_low`` to ``sharpness`` are as in `dcr.validation.looks`, the borders as in
    `dcr.validation.borders`, ``is_grey`` tells whether the picture shows no colour, ``phash`` is 64
    bits in hex; ``reason`` is the name of what kept the image from being measured.
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
    luminance_low: float | None = None
    luminance_high: float | None = None
    entropy: float | None = None
    sharpness: float | None = None
    flat_border: float | None = None
    text_border: float | None = None
    is_grey: bool | None = None
    phash: str | None = None
    changes: tuple[str, ...] = ()


def measure_image(content: bytes, max_pixels: int, has_detail: bool = False) -> ImageMeasures:
    """Return the measures of encoded ``content``; see `measure_images` for the other arguments."""
    return measure_images([content], max_pixels, has_detail)[0]


def measure_images(
    contents: list[bytes | None], max_pixels: int, has_detail: bool = False
) -> list[ImageMeasures]:
    """Return the measures of encoded images, which are decoded one at a time.

    Never raises for what the bytes hold: a failure is named in ``reason`` and told in
    ``decode_error``. Many at once are measured faster than one by one: small arrays cost the same
    as small batches.

    Args:
        contents: files; of None nothing is known.
        max_pixels: declared by a header, beyond which an image is not decoded.
        has_detail: whether sharpness and borders are measured, too; `benchmarks/validation.py`
            tells what they cost.
    """
    found = [
        (ImageMeasures(), None) if content is None else _decode(content, max_pixels, has_detail)
        for content in contents
    ]
    decoded = [(measures, grey) for measures, grey in found if grey is not None]
    if decoded:
        counts = np.array([counts for _, (counts, _) in decoded], np.float64)
        small = np.stack([small for _, (_, small) in decoded])
        _measure_together([measures for measures, _ in decoded], counts, small)
    return [measures for measures, _ in found]


def _measure_together(measures: list[ImageMeasures], counts: np.ndarray, small: np.ndarray) -> None:
    """Add what histograms (N, 256) and copies of 32 x 32 tell of N images."""
    means, spreads = _mean_and_spread(counts)
    lows, highs = luminance_ends(counts)
    columns: dict[str, Sequence[float | str]] = {
        "luminance_mean": means,
        "luminance_spread": spreads,
        "luminance_low": lows,
        "luminance_high": highs,
        "entropy": entropies(counts),
        "phash": perceptual_hashes(small),
    }
    for name, values in columns.items():
        for image, value in zip(measures, values, strict=True):
            setattr(image, name, value)


def _decode(
    content: bytes, max_pixels: int, has_detail: bool
) -> tuple[ImageMeasures, tuple[list[int], np.ndarray] | None]:
    """Return what the decoder tells, and of the grey image the histogram and a copy of 32 x 32."""
    measures = ImageMeasures()
    try:
        with open_picture(content, max_pixels) as image:
            measures.format = image.format
            measures.width, measures.height = image.size
            measures.mode = image.mode
            luma_alone = luma_tells_all(image)
            if luma_alone:
                image.draft("L", None)
            picture = develop(image, max_pixels)
            if luma_alone:
                measures.is_grey = jpeg_shows_no_colour(content)
            else:
                measures.is_grey = picture.image.mode == "L" or shows_no_colour(picture.image)
            grey = picture.image if picture.image.mode == "L" else picture.image.convert("L")
            measures.animated = _is_animated(image)  # last, as it may look for a second frame
    except DecodingError as exc:
        measures.reason = exc.reason
        measures.decode_error = str(exc)
        return measures, None
    measures.width, measures.height = picture.image.size
    measures.exif_orientation = picture.orientation
    measures.changes = picture.changes
    reduced = reduce(grey)
    if has_detail:
        seen = np.asarray(reduced)
        measures.sharpness = sharpness(middle(seen))
        framed = has_flat_edge(seen)  # few pictures are
        measures.flat_border = flat_border(seen) if framed else 0.0
        measures.text_border = text_border(seen) if framed else 0.0
    # A long strip has too few pixels left across.
    whole = reduced if min(reduced.size) >= 32 else grey
    small = np.asarray(whole.resize((32, 32), Image.Resampling.BOX))
    return measures, (grey.histogram(), small)


def _is_animated(image: Image.Image) -> bool:
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # the second frame is broken
        return True


def luma_tells_all(image: Image.Image) -> bool:
    """Tell whether an opened ``image`` is a JPEG whose colour decodes if and only if its luma does.

    For luma alone libjpeg reads and checks every bit of the colours too and omits what comes after:
    their transforms, which cannot fail, and their enlargement, which fails for factors that are not
    whole.
    """
    if not isinstance(image, JpegImageFile) or image.mode != "RGB":
        return False
    factors = zip(*((across, down) for _, across, down, _ in image.layer), strict=True)
    return all(min(sides) > 0 and not any(max(sides) % side for side in sides) for sides in factors)


def _mean_and_spread(counts: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of histograms (N, 256) of levels 0 to 255.

    Both are rounded to three places.
    """
    levels = np.arange(256.0)
    total = counts.sum(axis=1)
    mean = counts @ levels / total
    variance = ((counts @ levels**2) / total - mean**2).clip(min=0)
    return mean.round(3).tolist(), np.sqrt(variance).round(3).tolist()


def perceptual_hashes(small: np.ndarray) -> list[str]:
    """Return the 64-bit DCT hashes, each 16 hex digits, of grey images averaged to 32 x 32.

    Of an image's type-II DCT the lowest 8 x 8 coefficients are compared with their median (Zauner,
    "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).

    Args:
        small: (N, 32, 32), luminance of any number type.
    """
    low = (_DCT @ small.astype(np.float64) @ _DCT.T).reshape(-1, 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return [row.tobytes().hex() for row in np.packbits(bits, axis=1)]


_DCT = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5))
