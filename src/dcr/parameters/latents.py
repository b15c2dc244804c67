"""The latent cache and its check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from dcr.parameters.section import Section

if TYPE_CHECKING:
    from dcr.latents import LatentOptions


class LatentsParameters(Section):
    """How samples become cached latents."""

    mode: Literal["cache", "online"]
    crop_mode: Literal["random", "center"]
    crops_per_image: PositiveInt
    crop_scale_min: float = Field(gt=0, le=1)
    crop_scale_max: float = Field(gt=0, le=1)
    crop_horizontal_flip: float = Field(ge=0, le=1)
    dtype: Literal["float32", "float16", "bfloat16"]
    mixed_precision: Literal["no", "bf16", "fp16"]
    batch_size: PositiveInt
    num_workers: int = Field(ge=0)
    channels_last: bool
    compile: bool
    check_images: bool
    num_ranks: PositiveInt
    rank: int = Field(ge=0)

    def options(self, image_size: int) -> LatentOptions:
        """Return what is asked of latents whose crops have ``image_size`` pixels a side."""
        from dcr.latents import LatentOptions

        same = (
            "batch_size",
            "dtype",
            "crops_per_image",
            "crop_mode",
            "mixed_precision",
            "channels_last",
            "compile",
            "num_workers",
            "check_images",
            "mode",
        )
        return LatentOptions(
            image_size=image_size,
            scale=(self.crop_scale_min, self.crop_scale_max),
            horizontal_flip=self.crop_horizontal_flip,
            **{name: getattr(self, name) for name in same},
        )

    @field_validator("crops_per_image")
    @classmethod
    def _center_is_one_crop(cls, count: int, info: ValidationInfo) -> int:
        if count > 1 and info.data.get("crop_mode") == "center":
            raise ValueError("must be 1, because an image has one center crop")
        return count

    @field_validator("crop_scale_max")
    @classmethod
    def _range_is_ordered(cls, maximum: float, info: ValidationInfo) -> float:
        if maximum < info.data.get("crop_scale_min", 0):
            raise ValueError("must not be below crop_scale_min")
        return maximum


class VerifyParameters(Section):
    """How the latent cache is checked, and whether what fails is made again."""

    num_samples: int = Field(ge=0)
    seed: int
    tolerance: float = Field(gt=0)
    repair: bool
