"""The demo's world with a class for every pixel, in Pascal VOC's layout."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import numpy as np
from PIL import Image

from dcr.files import atomic_folder
from dcr.parameters import ScenesParameters
from dcr.scenes.drawing import render_mask
from dcr.scenes.sets import draw, progress, watched, write_lines
from dcr.scenes.world import SCENE_CLASSES, sample_attributes

BACKGROUND = "background"


def write_segmentation(folder: str | os.PathLike[str], parameters: ScenesParameters) -> None:
    """Write images with masks, lists ``train`` and ``val``.

    Their classes are the background, and one for each silhouette.

    Args:
        folder: is replaced whole, once all is drawn.
        parameters: sizes of both lists, image size and seed.
    """
    sizes = {
        "train": parameters.num_segmentation_train,
        "val": parameters.num_segmentation_test,
    }
    with atomic_folder(folder) as target, progress("segmentation", sum(sizes.values())) as bar:
        for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (target / place).mkdir(parents=True)
        write_lines(target / "classnames.txt", [BACKGROUND, *SCENE_CLASSES])
        for split, size in sizes.items():
            names = []
            for name, image, mask in watched(_iter_images(parameters, split, size), bar):
                (target / "JPEGImages" / f"{name}.jpg").write_bytes(image)
                (target / "SegmentationClass" / f"{name}.png").write_bytes(mask)
                names.append(name)
            write_lines(target / "ImageSets" / "Segmentation" / f"{split}.txt", names)


def _iter_images(
    parameters: ScenesParameters, split: str, size: int
) -> Iterator[tuple[str, bytes, bytes]]:
    stream = f"test/segmentation/{split}"
    for index in range(size):
        attributes = sample_attributes(parameters.seed, stream, index)
        mask = render_mask(attributes, parameters.seed, stream, index, parameters.image_size)
        yield (
            f"{split}_{index:06d}",
            draw(parameters, attributes, stream, index),
            encode_mask(mask),
        )


def encode_mask(mask: np.ndarray) -> bytes:
    """Return the PNG bytes of a ``mask`` (S, S) of class indices, in VOC's colours."""
    image = Image.fromarray(mask, "P")
    image.putpalette(_colours())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _colours() -> bytes:
    """Return VOC's palette.

    The bits of an index, dealt in turn to red, green and blue, are these colours' bits from the
    highest down.
    """
    index = np.arange(256)[:, None, None]
    channel = np.arange(3)[:, None]
    turn = np.arange(3)
    bits = index >> (3 * turn + channel) & 1
    colours: np.ndarray = (bits << (7 - turn)).sum(axis=-1)
    return colours.astype(np.uint8).tobytes()
