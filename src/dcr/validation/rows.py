"""What is known of samples: a row of each, and the reasons that the sample alone gives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dcr.data.shards import CaptionNames, Sample
from dcr.validation.captions import MAX_TEXT, caption_findings, choose_caption, language_detector
from dcr.validation.downloads import was_resized
from dcr.validation.images import ImageMeasures, measure_images
from dcr.validation.tokens import token_counter

SCHEMA = pa.schema(
    {
        "key": pa.string(), "shard": pa.string(), "offset": pa.int64(),
        "format": pa.string(), "width": pa.int32(), "height": pa.int32(), "mode": pa.string(),
        "exif_orientation": pa.int32(), "animated": pa.bool_(), "decode_error": pa.string(),
        "luminance_mean": pa.float64(), "luminance_spread": pa.float64(),
        "luminance_low": pa.float64(), "luminance_high": pa.float64(), "entropy": pa.float64(),
        "sharpness": pa.float64(), "flat_border": pa.float64(), "text_border": pa.float64(),
        "phash": pa.string(),
        "num_bytes": pa.int64(), "sha256": pa.string(),
        "declared_width": pa.int32(), "declared_height": pa.int32(), "declared_sha256": pa.string(),
        "num_captions": pa.int32(), "caption": pa.string(), "caption_length": pa.int32(),
        "caption_language": pa.string(),
        "caption_tokens": pa.int32(), "caption_truncated": pa.bool_(),
        "findings": pa.list_(pa.string()),
    }
)  # fmt: skip


# Findings on a sample whose image is there, but was not read.
_IMAGE_IS_THERE = {"tar_truncated", "unsafe_member", "member_too_large", "dotted_name"}


@dataclass(frozen=True)
class Limits:
    """Where a sample begins to be wrong.

    Sides and pixels are in px, spread in luminance levels of 0 to 255, and so are the ends of
    luminance; entropy and sharpness are as in `dcr.validation.looks`, borders as in
    `dcr.validation.borders`. ``caption_names`` says where captions stand; ``caption_choice``,
    ``min_language_confidence``, and ``tokenizer`` with ``cleaning`` and ``tokenizer_file`` are as
    `choose_caption` and `language_detector` of `dcr.validation.captions` and `token_counter` of
    `dcr.validation.tokens` take them, ``tokenizer`` None to count no tokens and
    ``min_language_confidence`` None to tell no language; ``context_length`` is the number of
    tokens that the text tower reads. A shard that takes more than ``max_seconds_per_megabyte``
    of computing, or ``max_gigabytes`` of memory, is
    given up; see `dcr.validation.watchdog`.
    """

    min_image_size: int
    max_aspect_ratio: float
    max_image_pixels: int
    min_luminance_spread: float
    min_luminance_high: float
    max_luminance_low: float
    min_entropy: float
    min_sharpness: float | None
    max_flat_border: float | None
    max_text_border: float | None
    caption_names: CaptionNames
    caption_choice: str
    min_language_confidence: float | None
    tokenizer: str | None
    tokenizer_file: str
    cleaning: str
    context_length: int
    max_seconds_per_megabyte: float
    max_gigabytes: float

    @property
    def has_detail(self) -> bool:
        """Whether sharpness or borders are asked for."""
        asked = (self.min_sharpness, self.max_flat_border, self.max_text_border)
        return any(limit is not None for limit in asked)


def measure_samples(samples: list[Sample], shard: str, limits: Limits) -> list[dict[str, Any]]:
    """Return a row of `SCHEMA` a sample; ``findings`` names all reasons that it gives alone.

    Args:
        samples: some of one shard, measured together.
        shard: its name in tables.
        limits: where a sample begins to be wrong.
    """
    images = measure_images(
        [sample.image for sample in samples], limits.max_image_pixels, limits.has_detail
    )
    tell_language, count_tokens = _caption_measures(limits)
    rows = []
    for sample, image in zip(samples, images, strict=True):
        chosen = choose_caption(sample, limits.caption_choice)
        caption = _measure_caption(chosen, tell_language, count_tokens, limits.context_length)
        caption["num_captions"] = max(len(sample.captions), int(sample.caption is not None))
        rows.append(_row(sample, shard, image, caption, limits))
    return rows


def _row(
    sample: Sample, shard: str, image: ImageMeasures, caption: dict[str, Any], limits: Limits
) -> dict[str, Any]:
    row = vars(image) | _declared(sample.metadata) | caption
    row |= {
        "key": clean_text(sample.key), "shard": shard, "offset": sample.offset,
        "num_bytes": None if sample.image is None else len(sample.image),
        "sha256": None if sample.image is None else hashlib.sha256(sample.image).hexdigest(),
    }  # fmt: skip
    reason = row.pop("reason")
    changes = row.pop("changes")
    is_grey = row.pop("is_grey")
    found = {
        *sample.problems,
        *changes,
        *_image_findings(row, limits),
        *caption_findings(row["caption"], sample.problems),
        *_mismatches(row, sample.metadata),
    }
    if is_grey and "blank_image" not in found:
        found.add("greyscale")
    if row["caption_truncated"]:
        found.add("caption_truncated")
    if sample.image is None and not found & _IMAGE_IS_THERE:
        found.add("image_missing")
    return row | {"findings": sorted(found | {reason} - {None})}


def _caption_measures(
    limits: Limits,
) -> tuple[Callable[[str], str | None], Callable[[str], int | None]]:
    """Return what tells a caption's language and what counts its tokens, each None if not asked."""
    confidence, tokenizer = limits.min_language_confidence, limits.tokenizer
    tell = _nothing if confidence is None else language_detector(confidence)
    count = (
        _nothing
        if tokenizer is None
        else token_counter(tokenizer, limits.cleaning, limits.tokenizer_file)
    )
    return tell, count


def _nothing(text: str) -> None:
    """Tell nothing of ``text``."""


def _measure_caption(
    caption: str | None,
    tell_language: Callable[[str], str | None],
    count_tokens: Callable[[str], int | None],
    context_length: int,
) -> dict[str, Any]:
    if caption is None:
        names = ("", "_length", "_language", "_tokens", "_truncated")
        return dict.fromkeys(f"caption{name}" for name in names)
    text = clean_text(caption)[:MAX_TEXT]
    tokens = count_tokens(text)
    return {
        "caption": text,
        "caption_length": len(caption),
        "caption_language": tell_language(text),
        "caption_tokens": tokens,
        "caption_truncated": None if tokens is None else tokens > context_length,
    }


def _declared(metadata: dict[str, Any]) -> dict[str, Any]:
    def size(name: str) -> int | None:
        """Return the pixels stated under ``name``, None for what is no number of a table's."""
        value = metadata.get(name)
        return value if type(value) is int and 0 <= value < 2**31 else None

    sha256 = metadata.get("sha256")
    return {
        "declared_width": size("width"),
        "declared_height": size("height"),
        "declared_sha256": clean_text(sha256)[:64].lower() if isinstance(sha256, str) else None,
    }


def _image_findings(row: dict[str, Any], limits: Limits) -> Iterator[str]:
    if row["luminance_mean"] is None:  # not decoded: its reason stands already
        return
    short, long = sorted((row["width"], row["height"]))
    if row["animated"]:
        yield "animated"
    if short < limits.min_image_size:
        yield "image_too_small"
    if long > limits.max_aspect_ratio * short:
        yield "extreme_aspect_ratio"
    if row["luminance_spread"] < limits.min_luminance_spread:
        yield "blank_image"
    else:
        yield from _look_findings(row, limits)


def _look_findings(row: dict[str, Any], limits: Limits) -> Iterator[str]:
    """Yield what is wrong with how a picture looks; a blank one is just that."""
    if row["luminance_high"] < limits.min_luminance_high:
        yield "dark_image"
    if row["luminance_low"] > limits.max_luminance_low:
        yield "overexposed_image"
    if row["entropy"] < limits.min_entropy:
        yield "low_entropy"
    if limits.min_sharpness is not None and row["sharpness"] < limits.min_sharpness:
        yield "blurred_image"
    if limits.max_flat_border is not None and row["flat_border"] > limits.max_flat_border:
        yield "flat_border"
    if limits.max_text_border is not None and row["text_border"] > limits.max_text_border:
        yield "text_border"


def _mismatches(row: dict[str, Any], metadata: dict[str, Any]) -> Iterator[str]:
    declared = row["declared_width"], row["declared_height"]
    upright = row["width"], row["height"]
    stored = upright[::-1] if (row["exif_orientation"] or 0) >= 5 else upright
    sizes = (upright, stored)  # tools declare the one or the other
    if not any(all(_fit(*sides) for sides in zip(declared, size, strict=True)) for size in sizes):
        yield "size_mismatch"
    if not _fit(row["declared_sha256"], row["sha256"]) and not was_resized(metadata):
        yield "sha256_mismatch"


def _fit(declared: Any, found: Any) -> bool:
    return None in (declared, found) or declared == found


def clean_text(text: str) -> str:
    """Replace in ``text`` what UTF-8 cannot hold: lone surrogates of undecodable names."""
    return text.encode("utf-8", "backslashreplace").decode()
