"""Images to shards, and what is wrong with them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from dcr.data.shards.sample import IMAGE_EXTENSIONS
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
    max_text_border: float | None = Field(ge=0, le=1)
    max_seconds_per_megabyte: float = Field(gt=0)
    max_gigabytes: float = Field(gt=0)
    caption_member: str = Field(pattern=r"[a-z0-9_]+(\.[a-z0-9_]+)*")
    caption_key: str | None = Field(min_length=1)
    caption_choice: Literal["first", "drawn"]
    min_language_confidence: float | None = Field(ge=0, le=1)
    tokenizer: str | None
    context_length: PositiveInt | None
    near_duplicate_distance: int = Field(ge=-1, le=15)
    evaluation_image_distance: int = Field(ge=0, le=15)
    num_examples: int = Field(ge=0)
    policies: dict[str, Policy]

    @field_validator("caption_member")
    @classmethod
    def _is_no_image(cls, member: str) -> str:
        if member in IMAGE_EXTENSIONS:
            raise ValueError("is the extension of an image; give that of a text, txt or json")
        return member

    @field_validator("context_length")
    @classmethod
    def _belongs_to_the_tokenizer(cls, length: int | None, info: ValidationInfo) -> int | None:
        tokenizer = info.data.get("tokenizer")
        if tokenizer == "backbone" and length is not None:
            raise ValueError("is the backbone's own: set it to null, or name another tokenizer")
        if tokenizer not in (None, "backbone") and length is None:
            raise ValueError("must say how many tokens are read of those that tokenizer counts")
        return length

    @field_validator("policies")
    @classmethod
    def _names_every_reason(cls, policies: dict[str, Policy]) -> dict[str, Policy]:
        for name in policies.keys() - REASONS.keys():
            raise ValueError(f"unknown reason {name!r}{did_you_mean(name, list(REASONS))}")
        for name in REASONS.keys() - policies.keys():
            raise ValueError(f"no policy for reason {name!r}")
        return policies
