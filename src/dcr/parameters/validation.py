"""Images to shards, and what is wrong with them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from dcr.parameters.section import Section, did_you_mean
from dcr.validation.reasons import REASONS

Policy = Literal["accept", "warn", "reject", "fail"]


class IngestParameters(Section):
    """Which images and captions become shards, and how large those are."""

    images: str
    table: str | None
    path_column: str
    caption_column: str | None
    max_shard_megabytes: PositiveInt
    max_failed_share: float = Field(ge=0, le=1)


class ValidationParameters(Section):
    """How shards are read, when an image is wrong, and what follows from each possible fault."""

    n_jobs: int = Field(ge=-1)
    backend: Literal["loky", "threading", "dask", "ray"]
    cluster: str | None
    min_image_size: PositiveInt
    max_aspect_ratio: float = Field(ge=1)
    max_image_pixels: int = Field(gt=0, le=178_956_970)  # beyond it Pillow refuses to open an image
    min_luminance_spread: float = Field(ge=0)
    min_luminance_high: float = Field(ge=0, le=255)
    max_luminance_low: float = Field(ge=0, le=255)
    min_entropy: float = Field(ge=0, le=8)
    min_sharpness: float | None = Field(ge=0)
    max_flat_border: float | None = Field(ge=0, le=1)
    max_seconds_per_megabyte: float = Field(gt=0)
    max_gigabytes: float = Field(gt=0)
    caption_choice: Literal["first", "drawn"]
    tokenizer: str | None
    context_length: PositiveInt
    near_duplicate_distance: int = Field(ge=-1, le=15)
    evaluation_image_distance: int = Field(ge=0, le=15)
    num_examples: int = Field(ge=0)
    policies: dict[str, Policy]

    @field_validator("policies")
    @classmethod
    def _names_every_reason(cls, policies: dict[str, Policy]) -> dict[str, Policy]:
        for name in policies.keys() - REASONS.keys():
            raise ValueError(f"unknown reason {name!r}{did_you_mean(name, list(REASONS))}")
        for name in REASONS.keys() - policies.keys():
            raise ValueError(f"no policy for reason {name!r}")
        return policies
