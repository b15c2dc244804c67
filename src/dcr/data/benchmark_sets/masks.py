"""Masks of class indices: the PNGs that say of every pixel of an image what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcr.data.benchmark_sets.parts import Sample
from dcr.errors import UserError


@dataclass(frozen=True)
class MaskedSample(Sample):
    """An image with its mask, a PNG file's bytes; ``mask_where`` is for messages."""

    mask: bytes = b""
    mask_where: str = ""

    @property
    def classes(self) -> np.ndarray:
        """The mask's class indices (H, W), uint8, decoded anew at every call.

        Raises:
            UserError: the mask is broken, or has another size than its image.
        """
        classes = decode_mask(self.mask, self.mask_where)
        width, height = self._image_size()
        if classes.shape != (height, width):
            raise UserError(
                f"the mask {self.mask_where} has {classes.shape[1]} x {classes.shape[0]} pixels,"
                f" but its image has {width} x {height}: each pixel of the image needs its class"
            )
        return classes

    def _image_size(self) -> tuple[int, int]:
        from dcr.data.decoding import read_size
        from dcr.data.developing import DecodingError

        try:
            return read_size(self.content)
        except DecodingError as error:
            raise UserError(
                f"the image of {self.where} cannot be decoded ({error}): replace or remove it"
            ) from error


def decode_mask(content: bytes, where: str) -> np.ndarray:
    """Return the class indices (H, W), uint8, that the PNG ``content`` holds.

    Those of a palette are its entries' numbers, whatever colours these have; grey of 8 bits is
    taken as it is stored.

    Args:
        content: the file's bytes. where: words that say which file it is, for the error.

    Raises:
        UserError: it is broken, or holds no indices.
    """
    from dcr.data.decoding import open_picture
    from dcr.data.developing import MAX_PIXELS, DecodingError, check_size

    try:
        with open_picture(content) as image:
            check_size(*image.size, MAX_PIXELS)
            if not _has_indices(image.format, image.mode, content):
                raise DecodingError(
                    "unsupported_format",
                    f"its {image.format} of mode {image.mode} holds no class indices: a mask is a"
                    " PNG with a palette, or of 8-bit grey",
                )
            return np.array(image, dtype=np.uint8)
    except DecodingError as error:
        raise UserError(
            f"the mask {where} cannot be read ({error}): replace it, or take it off the list"
        ) from error


def _has_indices(file_format: str | None, mode: str, content: bytes) -> bool:
    """Tell whether pixels come as they are stored: grey of fewer bits Pillow scales to 255."""
    depth = content[24] if len(content) > 24 else 0  # of a PNG's header chunk
    return file_format == "PNG" and (mode == "P" or (mode == "L" and depth == 8))
