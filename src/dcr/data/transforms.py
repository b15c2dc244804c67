"""A picture to the input of an image tower, by the preprocessing that the model itself states."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from dcr.data.decoding import to_rgb
from dcr.devices import constant
from dcr.errors import UserError

_INTERPOLATIONS = ("bicubic", "bilinear")
_RESIZE_MODES = ("shortest", "squash", "longest")


@dataclass(frozen=True)
class Preprocessing:
    """A PIL image to the tower's input: the one place for size, crop, mean and standard deviation.

    interpolation: ``bicubic`` or ``bilinear``. resize_mode: ``shortest`` (shortest side, then
    centre crop), ``squash`` (both sides, aspect lost) or ``longest`` (longest side, then padding),
    as open_clip names them. It is open_clip's transform: pixels equal transformers' PIL image
    processor, save that where the side left over is odd the centre crop may lie one pixel apart
    (torchvision rounds, transformers floors).
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    resize_mode: str

    @cached_property
    def _transform(self) -> Any:
        from open_clip.transform import image_transform

        return image_transform(
            self.image_size, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3,
            interpolation=self.interpolation, resize_mode=self.resize_mode,
        )  # fmt: skip

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Return ``image`` as RGB, resized and cropped, (3, H, H) float32 in [0, 1]."""
        pixels: torch.Tensor = self._transform(to_rgb(image))
        return pixels

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise ``pixels`` in [0, 1], (B, 3, H, H), with the backbone's mean and deviation."""
        mean, std = (
            constant(v, pixels.dtype, pixels.device).view(1, 3, 1, 1) for v in (self.mean, self.std)
        )
        return (pixels - mean) / std


def checked_preprocessing(
    image_size: int, mean: Any, std: Any, interpolation: Any, resize_mode: Any, path: Path
) -> Preprocessing:
    """Return the preprocessing that a model's configuration states.

    Args:
        image_size: side of the tower's input in pixels.
        mean: three numbers, for pixels in [0, 1].
        std: three numbers above 0.
        interpolation: ``bicubic`` or ``bilinear``.
        resize_mode: ``shortest``, ``squash`` or ``longest``.
        path: the configuration's file, for messages.

    Raises:
        UserError: it is none that is known.
    """
    for name, values, lowest in (("mean", mean, -math.inf), ("std", std, 0.0)):
        numbers = values if isinstance(values, list | tuple) else ()
        if len(numbers) != 3 or not all(
            isinstance(x, int | float) and lowest < x < math.inf for x in numbers
        ):
            raise UserError(
                f"{path}: {name} must be three finite numbers, std above 0, got {values!r}"
            )
    known = (
        ("interpolation", interpolation, _INTERPOLATIONS),
        ("resize mode", resize_mode, _RESIZE_MODES),
    )
    for name, value, choices in known:
        if value not in choices:
            raise UserError(
                f"{path}: the {name} must be one of {', '.join(choices)}, got {value!r}"
            )
    return Preprocessing(image_size, tuple(mean), tuple(std), interpolation, resize_mode)
