"""The augmented view of a crop, which the contrast takes for its positive.

Everything here works on pixels in [0, 1]; normalisation with a backbone's mean and standard
deviation happens in the backbone. The published code jitters normalised values, which torchvision
clamps to [0, 1]: everything darker than the mean is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F

_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


@dataclass(frozen=True)
class ViewAugmentation:
    """The augmented view of a batch, drawn per sample, in pixel space.

    brightness, contrast, saturation, hue: largest change of the colour jitter, as in torchvision.
    horizontal_flip, vertical_flip: probabilities. scale, ratio: of the random resized crop.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    horizontal_flip: float
    vertical_flip: float
    scale: tuple[float, float]
    ratio: tuple[float, float]

    def __call__(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return views of ``pixels``, (B, 3, H, W) in [0, 1].

        Every draw comes from ``generator`` on the CPU.
        """
        return self.apply(pixels, self.draw(len(pixels), generator))

    @staticmethod
    def draw(count: int, generator: torch.Generator) -> torch.Tensor:
        """Return ``count`` samples' draws, (count, 10) in [0, 1), from a CPU ``generator``."""
        return torch.rand(count, 10, generator=generator)

    def apply(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return views of ``pixels``, (B, 3, H, W) in [0, 1].

        Their ``draws``, (B, 10), are as `draw` returns them.
        """
        draws = draws.to(pixels)
        views = self._geometry(self._colour(pixels, draws[:, :4]), draws[:, 4:])
        return views.clamp(0, 1)

    def _colour(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        def factor(column: int, strength: float) -> torch.Tensor:
            """Return (B, 1, 1, 1) factors within ``strength`` of 1, from a ``column`` of draws."""
            return (1 + (draws[:, column] * 2 - 1) * strength)[:, None, None, None]

        pixels = (pixels * factor(0, self.brightness)).clamp(0, 1)
        grey = F.rgb_to_grayscale(pixels)
        mean = grey.mean(dim=(-1, -2), keepdim=True)
        pixels = (mean + (pixels - mean) * factor(1, self.contrast)).clamp(0, 1)
        grey = F.rgb_to_grayscale(pixels)
        pixels = (grey + (pixels - grey) * factor(2, self.saturation)).clamp(0, 1)
        return _rotate_hue(pixels, (draws[:, 3] * 2 - 1) * self.hue)

    def _geometry(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Crop, resize and flip all samples by one affine grid, sampled bilinearly."""
        area = self.scale[0] + draws[:, 0] * (self.scale[1] - self.scale[0])
        low, high = np.log(self.ratio)
        aspect = torch.exp(low + draws[:, 1] * (high - low))
        width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
        centre_x, centre_y = (
            (draws[:, 2] * 2 - 1) * (1 - width),
            (draws[:, 3] * 2 - 1) * (1 - height),
        )
        flip_x = 1 - 2 * (draws[:, 4] < self.horizontal_flip).to(pixels)
        flip_y = 1 - 2 * (draws[:, 5] < self.vertical_flip).to(pixels)
        zero = torch.zeros_like(width)
        theta = torch.stack(
            [
                torch.stack([width * flip_x, zero, centre_x], -1),
                torch.stack([zero, height * flip_y, centre_y], -1),
            ],
            -2,
        )
        grid = torch.nn.functional.affine_grid(theta, list(pixels.shape), align_corners=False)
        return torch.nn.functional.grid_sample(
            pixels, grid, mode="bicubic", padding_mode="border", align_corners=False
        )


def _rotate_hue(pixels: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Rotate hues by ``turn`` (B,) of a full circle, in the YIQ plane, keeping luminance."""
    angle = turn * 2 * torch.pi
    to_yiq, to_rgb = _yiq_matrices(pixels.dtype, pixels.device)
    cos = angle.cos()
    sin = angle.sin()
    zero = torch.zeros_like(angle)
    one = torch.ones_like(angle)
    rotation = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], -1).view(-1, 3, 3)
    matrix = to_rgb @ rotation @ to_yiq
    return torch.einsum("bij,bjhw->bihw", matrix, pixels).clamp(0, 1)


@lru_cache(maxsize=8)
def _yiq_matrices(dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the matrices to YIQ and back, (3, 3) each.

    They are made once, as a copy from the CPU waits for the device.
    """
    with torch.inference_mode(False):
        to_yiq = torch.tensor(_TO_YIQ, dtype=dtype)
        return to_yiq.to(device), torch.linalg.inv(to_yiq).to(device)
