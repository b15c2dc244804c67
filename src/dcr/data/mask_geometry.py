"""Masks brought to where an image tower sees their images."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from dcr.data.transforms import Preprocessing


def place_mask(classes: np.ndarray, preprocessing: Preprocessing, outside: int) -> np.ndarray:
    """Return a mask resized and cropped, or padded, as ``preprocessing`` does its image, (S, S).

    Classes cannot be mixed, so that of the nearest pixel is taken.

    Args:
        classes: (H, W) uint8, of an upright image.
        preprocessing: of the tower; S is its image size.
        outside: the class of padding, where the image is wholly kept.
    """
    image = _geometry(preprocessing.image_size, preprocessing.resize_mode, outside)(
        Image.fromarray(classes)
    )
    return np.array(image, dtype=np.uint8)


@lru_cache(maxsize=8)
def _geometry(image_size: int, resize_mode: str, outside: int) -> Any:
    """Return the steps of open_clip's transform that move pixels, with the nearest one taken."""
    from open_clip.transform import CenterCropOrPad, ResizeKeepRatio, image_transform
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    whole = image_transform(
        image_size, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3,
        resize_mode=resize_mode, fill_color=outside,
    )  # fmt: skip
    steps = []
    for step in whole.transforms:
        if isinstance(step, (Resize, ResizeKeepRatio)):
            step.interpolation = InterpolationMode.NEAREST
        if isinstance(step, (Resize, ResizeKeepRatio, CenterCrop, CenterCropOrPad)):
            steps.append(step)
    return Compose(steps)
