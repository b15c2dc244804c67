"""Pictures made to have what a measure of looks tells, and pictures that do not have it."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from dcr.data.shards import Sample
from dcr.validation.rows import measure_samples
from validation_tables import LIMITS

BASE = yaml.safe_load(
    (Path(__file__).parents[2] / "conf" / "base" / "parameters_validation.yml").read_text()
)["validation"]
# The base recipe's, and for what it does not measure those that its comments name.
LOOKS = replace(
    LIMITS,
    max_image_pixels=10**6,
    **{name: BASE[name] for name in ("min_luminance_high", "max_luminance_low", "min_entropy")},
    min_sharpness=30.0,
    max_flat_border=0.25,
    max_text_border=0.03,
)
WORDS = ("alamy stock photo", "when you see it", "image no. 48151623", "www.agency.example")


def picture(seed, size=(320, 240)):
    """Return a picture whose spectrum falls with frequency as that of photographs does."""
    rng = np.random.default_rng(seed)
    width, height = size
    noise = np.fft.fft2(rng.standard_normal((3, height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = 1
    layers = np.real(np.fft.ifft2(noise / frequency))
    layers = (layers - layers.mean()) / layers.std()
    return Image.fromarray((127 + 50 * layers).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def muted(image):
    """Return a picture with a fifth of its colour."""
    return Image.blend(image.convert("L").convert("RGB"), image, 0.2)


def grey_in_three_channels(image):
    """Return a grey picture of mode RGB with a tint of two levels, as scanners leave it."""
    grey = image.convert("L")
    return Image.merge("RGB", (grey.point(lambda level: min(255, level + 2)), grey, grey))


def with_text_bar(image, seed=0, text=None, size=18, height=40):
    """Return a picture above a bar with a line of writing, dark or light: ``text``, or some words,
    in letters of a ``size`` in pixels.
    """
    paper, ink = (("black", "white"), ("white", "black"))[seed % 2]
    framed = ImageOps.expand(image, (0, 0, 0, height), paper)
    place = (12 + seed % 9, image.height + (height - size) // 2 - 3)
    draw = ImageDraw.Draw(framed)
    draw.text(place, text or WORDS[seed % len(WORDS)], ink, ImageFont.load_default(size))
    return framed


def panels(seed, gap):
    """Return nine pictures in three rows, with a ``gap`` of one level around each, in pixels."""
    level = (0, 255)[seed % 2]
    whole = Image.new("RGB", (3 * (100 + gap) + gap, 3 * (75 + gap) + gap), (level,) * 3)
    for place in range(9):
        corner = (gap + place % 3 * (100 + gap), gap + place // 3 * (75 + gap))
        whole.paste(picture(9 * seed + place, (100, 75)), corner)
    return whole


def object_on_white(seed):
    """Return a textured disc before a white ground."""
    mask = Image.new("L", (320, 240), 0)
    ImageDraw.Draw(mask).ellipse((60 + seed % 40, 40, 220, 200), 255)
    return Image.composite(picture(seed), Image.new("RGB", (320, 240), "white"), mask)


def _scaled(image, factor, offset):
    return image.point(lambda level: min(255, int(level * factor + offset)))


# By reason: what makes it of a good picture and a seed, the file, and further pictures that are
# near it and do not have it.
DEFECTS = {
    "greyscale": (lambda image, _: grey_in_three_channels(image), "JPEG", muted),
    "dark_image": (
        lambda image, _: _scaled(image, 0.25, 0),
        "JPEG",
        lambda image: _scaled(image, 0.6, 0),
    ),
    "overexposed_image": (
        lambda image, _: _scaled(image, 0.07, 239),
        "JPEG",
        lambda image: _scaled(image, 0.5, 120),
    ),
    # PNG, as JPEG would blur the few levels
    "low_entropy": (
        lambda image, _: image.convert("L").quantize(4).convert("RGB"),
        "PNG",
        lambda image: image.quantize(64).convert("RGB"),
    ),
    "blurred_image": (
        lambda image, _: image.filter(ImageFilter.GaussianBlur(8)),
        "JPEG",
        lambda image: image.filter(ImageFilter.GaussianBlur(0.5)),
    ),
    "flat_border": (
        lambda image, _: ImageOps.expand(image, (0, 60), "black"),
        "JPEG",
        lambda image: ImageOps.expand(image, (0, 10), "black"),
    ),
    "text_border": (
        with_text_bar,
        "JPEG",
        lambda image: ImageOps.expand(image, (0, 0, 0, 40), "white"),
    ),
}


def encoded(image, kind="JPEG", quality=90):
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def found(content, limits=LOOKS):
    """Return which reasons of `DEFECTS` an image file's bytes give."""
    (row,) = measure_samples([Sample("0", content, "jpg", "x")], "a", limits)
    return set(DEFECTS).intersection(row["findings"])


def rates(reason, count):
    """Return the shares of pictures that are told: with the defect, near it, and good ones."""
    spoil, kind, nearly = DEFECTS[reason]
    good = [picture(seed) for seed in range(count)]
    kinds = (
        [encoded(spoil(image, seed), kind) for seed, image in enumerate(good)],
        [encoded(nearly(image), kind) for image in good],
        [encoded(image) for image in good],
    )
    return [float(np.mean([reason in found(content) for content in part])) for part in kinds]
