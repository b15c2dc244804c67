"""Behaviour of DCR's published code that changes the result; to reproduce its checkpoints only.

Each is off by default and switched on by one parameter (conf/base/parameters_training.yml); what is
smaller than a function stands where it acts: the target and the noise in `dcr.training.batches`,
the order of samples and the reduction of gradients in `dcr.training.trainer`, the loss in
`dcr.losses.infonce`.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import torch
from torchvision import transforms

from dcr.data.views import ViewAugmentation
from dcr.devices import constant
from dcr.models.backbones import Backbone

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class PublishedViews:
    """Views as published: torchvision's, image by image, on normalised bfloat16 pixels.

    They are jitter, flips and crop. torchvision takes floats for pixels in [0, 1] and clamps the
    jittered ones, so that everything darker than the mean is lost. The crop is torchvision's by
    default, bilinear.

    Args:
        augmentation: the strengths.
        mean, std: that the image tower's input is normalised with, per channel.
    """

    augmentation: ViewAugmentation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @staticmethod
    def draw(count: int, generator: torch.Generator) -> torch.Tensor:
        """Return one seed a sample from ``generator``, (count, 1) int64."""
        return torch.randint(2**62, (count, 1), generator=generator)

    def apply(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return views of ``pixels``; normalised, they are what the published tower sees.

        They are (B, 3, H, W) in [0, 1].

        Args:
            pixels: of the images, (B, 3, H, W) in [0, 1].
            draws: seeds of `draw`, (B, 1).
        """
        mean, std = (
            constant(v, pixels.dtype, pixels.device).view(3, 1, 1) for v in (self.mean, self.std)
        )
        augment = self.transform(pixels.shape[-1])
        views = []
        with torch.random.fork_rng(devices=[]):
            for image, seed in zip(
                ((pixels - mean) / std).bfloat16().cpu(), draws.flatten().tolist(), strict=True
            ):
                torch.manual_seed(seed)
                views.append(augment(image))
        return torch.stack(views).to(pixels) * std + mean

    def transform(self, image_size: int) -> transforms.Compose:
        """Return torchvision's transform of one image to a view of ``image_size`` pixels a side."""
        a = self.augmentation
        return transforms.Compose(
            [
                transforms.ColorJitter(a.brightness, a.contrast, a.saturation, a.hue),
                transforms.RandomHorizontalFlip(a.horizontal_flip),
                transforms.RandomVerticalFlip(a.vertical_flip),
                transforms.RandomResizedCrop(image_size, a.scale, a.ratio),
            ]
        )


def with_openai_normalization(backbone: Backbone) -> Backbone:
    """Return the same model with OpenAI's mean and std; ``backbone`` keeps its own."""
    changed = copy(backbone)
    changed.preprocessing = replace(backbone.preprocessing, mean=OPENAI_MEAN, std=OPENAI_STD)
    return changed
