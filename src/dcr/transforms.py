"""Samples to tensors: the one crop that CLIP and the VAE share, and the augmented view of it.

Everything here works on pixels in [0, 1]; normalisation with a backbone's mean and standard deviation happens in
the backbone. The published code jitters normalised values, which torchvision clamps to [0, 1]: everything darker
than the mean is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as F

from dcr.seeds import numpy_generator

# Part of every latent shard's key: raise it with each change of what a crop is, and old shards are made again.
TRANSFORM_VERSION = 1
CROP_ASPECT = (3 / 4, 4 / 3)  # torchvision's range of a random resized crop, width to height


def crop_box(
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: np.random.Generator,
) -> tuple[int, int, int, int]:
    """Draw the box of a random resized crop as (left, top, right, bottom).

    The area is a share in ``scale`` of the image, the aspect log-uniform in ``ratio`` of width to height. As in
    torchvision ten draws are tried, then the largest centred box whose aspect lies in ``ratio`` is taken.
    """
    width, height = size
    for _ in range(10):
        area = width * height * generator.uniform(*scale)
        aspect = float(np.exp(generator.uniform(*np.log(ratio))))
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(generator.integers(width - w + 1)), int(generator.integers(height - h + 1))
            return left, top, left + w, top + h
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


class Crop(NamedTuple):
    """A crop: uint8 pixels, (S, S, 3); its box in the image, (left, top, right, bottom); whether it is mirrored."""

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
    """Return the random resized crop of an RGB image that CLIP and the VAE both see, image_size pixels a side, bicubic.

    It depends on the image's hash and the crop's number alone, so neither order nor shard layout nor the number
    of processes changes it. The scale is relative to the area, the aspect stays within torchvision's 3/4 to 4/3.
    """
    generator = numpy_generator(0, "base crop", image_hash, number)
    box = crop_box(image.size, scale, CROP_ASPECT, generator)
    return _resize(image, image_size, box, flip=bool(generator.random() < horizontal_flip))


def center_crop(image: Image.Image, image_size: int) -> Crop:
    """Return the largest centred square of an RGB image, resized to image_size pixels a side, bicubic."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return _resize(image, image_size, (left, top, left + side, top + side), flip=False)


def _resize(image: Image.Image, image_size: int, box: tuple[int, int, int, int], flip: bool) -> Crop:
    resized = image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=box)
    return Crop(np.asarray(ImageOps.mirror(resized) if flip else resized), box, flip)


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
        """Return views of ``pixels``, (B, 3, H, W) in [0, 1]; every draw comes from ``generator`` on the CPU."""
        return self.apply(pixels, self.draw(len(pixels), generator))

    @staticmethod
    def draw(count: int, generator: torch.Generator) -> torch.Tensor:
        """Return the draws of ``count`` samples, (count, 10) in [0, 1)."""
        return torch.rand(count, 10, generator=generator)

    def apply(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return views of ``pixels``, (B, 3, H, W) in [0, 1], from their draws, (B, 10)."""
        draws = draws.to(pixels)
        views = self._geometry(self._colour(pixels, draws[:, :4]), draws[:, 4:])
        return views.clamp(0, 1)

    def _colour(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        def factor(column: int, strength: float) -> torch.Tensor:
            return (1 + (draws[:, column] * 2 - 1) * strength)[:, None, None, None]

        pixels = (pixels * factor(0, self.brightness)).clamp(0, 1)
        grey = F.rgb_to_grayscale(pixels)
        mean = grey.mean(dim=(-1, -2), keepdim=True)
        pixels = (mean + (pixels - mean) * factor(1, self.contrast)).clamp(0, 1)
        grey = F.rgb_to_grayscale(pixels)
        pixels = (grey + (pixels - grey) * factor(2, self.saturation)).clamp(0, 1)
        return _rotate_hue(pixels, (draws[:, 3] * 2 - 1) * self.hue)

    def _geometry(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Crop, resize and flip all samples by one affine grid: bilinear sampling, no loop over the batch."""
        area = self.scale[0] + draws[:, 0] * (self.scale[1] - self.scale[0])
        low, high = np.log(self.ratio)
        aspect = torch.exp(low + draws[:, 1] * (high - low))
        width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
        centre_x, centre_y = (draws[:, 2] * 2 - 1) * (1 - width), (draws[:, 3] * 2 - 1) * (1 - height)
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
        return torch.nn.functional.grid_sample(pixels, grid, mode="bicubic", padding_mode="border", align_corners=False)


def _rotate_hue(pixels: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Rotate each sample's hue by ``turn`` (B,) of a full circle, in the YIQ plane, keeping luminance."""
    angle = turn * 2 * torch.pi
    to_yiq = pixels.new_tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rotation = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], -1).view(-1, 3, 3)
    matrix = torch.linalg.inv(to_yiq) @ rotation @ to_yiq
    return torch.einsum("bij,bjhw->bihw", matrix, pixels).clamp(0, 1)
