"""What is asked of the latents, and which of it decides about their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dcr.data.crops import CROP_ASPECT


@dataclass(frozen=True)
class LatentOptions:
    """How a sample becomes crops and moments.

    Attributes:
        image_size: side of a crop in pixels, CLIP's own.
        scale: range of a random crop's share of the image's area.
        batch_size: crops in one pass of the VAE.
        dtype: of the stored moments: ``float32``, ``float16`` or ``bfloat16``.
        crops_per_image: how many crops are stored; training uses crop e mod n in epoch e.
        crop_mode: ``random`` resized crops, or the one ``center`` crop.
        horizontal_flip: probability that a random crop is mirrored.
        mixed_precision: of the VAE: ``no`` (float32), ``bf16`` or ``fp16``.
        channels_last, compile: speed of the VAE; they change its results by rounding only.
        num_workers: processes that decode and crop; 0 decodes where the VAE runs.
        check_images: hash the images of shards that are cached already, instead of trusting the
            manifest.
        mode: ``cache``, or ``online`` to have training encode.
    """

    image_size: int
    scale: tuple[float, float]
    batch_size: int
    dtype: str
    crops_per_image: int = 1
    crop_mode: str = "random"
    horizontal_flip: float = 0.0
    mixed_precision: str = "no"
    channels_last: bool = False
    compile: bool = False
    num_workers: int = 0
    check_images: bool = True
    mode: str = "cache"

    @property
    def images_per_batch(self) -> int:
        """How many images' crops fill one pass of the VAE."""
        return max(1, self.batch_size // self.crops_per_image)

    def crop_settings(self) -> dict[str, Any]:
        """Return what decides about a crop's pixels, apart from the image itself."""
        random = {
            "scale": list(self.scale),
            "aspect": list(CROP_ASPECT),
            "horizontal_flip": self.horizontal_flip,
        }
        # online every epoch has a crop of its own, however many a cache would keep
        count = (
            {"mode": "online"}
            if self.mode == "online"
            else {"crops_per_image": self.crops_per_image}
        )
        return {
            "image_size": self.image_size,
            "crop_mode": self.crop_mode,
            **count,
            "resize": "bicubic",
            **(random if self.crop_mode == "random" else {}),
        }
