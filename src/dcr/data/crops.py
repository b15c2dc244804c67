"""The one crop of a sample that CLIP and the VAE share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from dcr.seeds import numpy_generator

CROP_ASPECT = (3 / 4, 4 / 3)  # torchvision's range of a random resized crop, width to height


def crop_box(
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: np.random.Generator,
) -> tuple[int, int, int, int]:
    """Draw the box of a random resized crop as (left, top, right, bottom).

    The area is a share in ``scale`` of the image, the aspect log-uniform in ``ratio`` of width to
    height. As in torchvision ten draws are tried, then the largest centred box whose aspect lies in
    ``ratio`` is taken.

    Args:
        size: (width, height) of the image, in pixels.
        scale: smallest and largest share of the area, in (0, 1].
        ratio: smallest and largest aspect.
        generator: gives all draws, for the tries and for the place of the box.
    """
    width, height = size
    for _ in range(10):
        area = width * height * generator.uniform(*scale)
        aspect = float(np.exp(generator.uniform(*np.log(ratio))))
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = (
                int(generator.integers(width - w + 1)),
                int(generator.integers(height - h + 1)),
            )
            return left, top, left + w, top + h
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


class Crop(NamedTuple):
    """A crop of an image, and where it was cut.

    Uint8 pixels, (S, S, 3); its box in the image, (left, top, right, bottom); whether it is
    mirrored.
    """

    pixels: np.ndarray
    box: tuple[int, int, int, int]
    flip: bool


def base_crop(
    image: Image.Image,
    image_size: int,
    image_hash: str,
    scale: tuple[float, float],
    number: int = 0,
    horizontal_flip: float = 0.0,
) -> Crop:
    """Return the random resized crop of an RGB image that CLIP and the VAE both see, bicubic.

    It depends on the image's hash and the crop's number alone, so neither order nor shard layout
    nor the number of processes changes it. The scale is relative to the area, the aspect stays
    within torchvision's 3/4 to 4/3.

    Args:
        image: the whole picture, RGB.
        image_size: side S of the crop in pixels.
        image_hash: names the image: its draws are seeded with it.
        scale: smallest and largest share of the area.
        number: which crop of the image it is, counted from 0.
        horizontal_flip: probability that the crop is mirrored.
    """
    generator = numpy_generator(0, "base crop", image_hash, number)
    box = crop_box(image.size, scale, CROP_ASPECT, generator)
    return _resize(image, image_size, box, flip=bool(generator.random() < horizontal_flip))


def center_crop(image: Image.Image, image_size: int) -> Crop:
    """Return the largest centred square of an RGB image, resized bicubically.

    Args:
        image: the whole picture, RGB.
        image_size: side S of the crop in pixels.
    """
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return _resize(image, image_size, (left, top, left + side, top + side), flip=False)


def _resize(
    image: Image.Image, image_size: int, box: tuple[int, int, int, int], flip: bool
) -> Crop:
    resized = image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=box)
    return Crop(np.asarray(ImageOps.mirror(resized) if flip else resized), box, flip)
