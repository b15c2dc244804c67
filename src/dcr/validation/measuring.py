"""One row per sample: image decoded, caption and declarations checked; one shard is the unit of work."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa

from dcr.shards import Sample, ShardReader
from dcr.validation.images import ImageMeasures, measure_image

SCHEMA = pa.schema(
    {
        "key": pa.string(), "shard": pa.string(), "offset": pa.int64(),
        "format": pa.string(), "width": pa.int32(), "height": pa.int32(), "mode": pa.string(),
        "exif_orientation": pa.int32(), "animated": pa.bool_(), "decode_error": pa.string(),
        "luminance_mean": pa.float64(), "luminance_spread": pa.float64(), "phash": pa.string(),
        "num_bytes": pa.int64(), "sha256": pa.string(),
        "declared_width": pa.int32(), "declared_height": pa.int32(), "declared_sha256": pa.string(),
        "caption": pa.string(), "caption_length": pa.int32(),
        "findings": pa.list_(pa.string()),
    }
)  # fmt: skip

_FILE_OR_URL = re.compile(r"(https?://|www\.)\S+|\S+\.(jpe?g|png|gif|webp|bmp|tiff?|svg)", re.IGNORECASE)
_MAX_TEXT = 10_000  # characters of a caption that a table keeps; its length is counted in full


@dataclass(frozen=True)
class Limits:
    """Where an image begins to be wrong: sides and pixels in px, spread in luminance levels of 0 to 255."""

    min_image_size: int
    max_aspect_ratio: float
    max_image_pixels: int
    min_luminance_spread: float


@dataclass(frozen=True)
class ShardMeasures:
    """The rows of one shard (`SCHEMA`, in the tar's order) and what was found of the shard as a whole.

    ``record`` holds shard, path, num_bytes, num_samples, damage, unreadable_bytes, findings.
    """

    rows: pa.Table
    record: dict[str, Any]


def measure_shards(shards: dict[str, str], limits: Limits, n_jobs: int, backend: str) -> Iterator[ShardMeasures]:
    """Yield the measures of each shard as it is done, in any order; only shards in work are held in memory.

    Args:
        shards: path to name, as `dcr.shards.name_shards` gives it.
        limits: see `Limits`.
        n_jobs: workers; -1 for all cores.
        backend: joblib's: ``loky`` (local processes), ``threading``, or a registered ``dask`` or ``ray``.
    """
    from joblib import Parallel, delayed, parallel_config

    tasks = (delayed(measure_shard)(path, name, limits) for path, name in shards.items())
    with parallel_config(backend=backend, n_jobs=n_jobs):
        yield from Parallel(return_as="generator_unordered", batch_size=1)(tasks)


def measure_shard(path: str, name: str, limits: Limits) -> ShardMeasures:
    """Read one shard and return a row for every sample found in it, whatever is wrong with the sample."""
    with ShardReader(path) as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings; what matters of them is a finding
        rows = [measure_sample(sample, name, limits) for sample in reader]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    record = {
        "shard": name, "num_bytes": reader.size, "num_samples": len(rows), "damage": reader.damage,
        "unreadable_bytes": reader.unreadable_bytes, "findings": _shard_findings(path, reader, len(rows)),
    }  # fmt: skip
    return ShardMeasures(table, record)


def _shard_findings(path: str, reader: ShardReader, num_samples: int) -> list[str]:
    findings = []
    if num_samples == 0:
        findings.append("tar_unreadable" if reader.damage and reader.size else "shard_empty")
    elif reader.damage:
        findings.append("tar_damaged")
    stem = path.removesuffix(".tar")
    if _exists(f"{stem}.parquet") and not _exists(f"{stem}_stats.json"):
        findings.append("shard_interrupted")
    return findings


def _exists(path: str) -> bool:
    if "://" not in path:
        return os.path.exists(path)
    fs, inner = fsspec.url_to_fs(path)
    return fs.exists(inner)


def measure_sample(sample: Sample, shard: str, limits: Limits) -> dict[str, Any]:
    """Return one row of `SCHEMA`; ``findings`` names all reasons that the sample alone gives."""
    image = ImageMeasures() if sample.image is None else measure_image(sample.image, limits.max_image_pixels)
    row = vars(image) | _declared(sample.metadata)
    row |= {
        "key": _clean(sample.key), "shard": shard, "offset": sample.offset,
        "num_bytes": None if sample.image is None else len(sample.image),
        "sha256": None if sample.image is None else hashlib.sha256(sample.image).hexdigest(),
        "caption": None if sample.caption is None else _clean(sample.caption)[:_MAX_TEXT],
        "caption_length": None if sample.caption is None else len(sample.caption),
    }  # fmt: skip
    reason = row.pop("reason")
    found = {*sample.problems, *_image_findings(row, limits), *_caption_findings(sample), *_mismatches(row)}
    if sample.image is None and not found & {"tar_truncated", "unsafe_member", "member_too_large"}:
        found.add("image_missing")
    return row | {"findings": sorted(found | {reason} - {None})}


def _declared(metadata: dict[str, Any]) -> dict[str, Any]:
    def size(name: str) -> int | None:
        value = metadata.get(name)
        return value if type(value) is int and 0 <= value < 2**31 else None

    sha256 = metadata.get("sha256")
    return {
        "declared_width": size("width"),
        "declared_height": size("height"),
        "declared_sha256": _clean(sha256)[:64].lower() if isinstance(sha256, str) else None,
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


def _caption_findings(sample: Sample) -> Iterator[str]:
    if sample.caption is None:
        if "tar_truncated" not in sample.problems:
            yield "caption_missing"
    elif not sample.caption.strip():
        yield "caption_empty"
    elif _FILE_OR_URL.fullmatch(sample.caption.strip()[:_MAX_TEXT]):
        yield "caption_is_file_or_url"


def _mismatches(row: dict[str, Any]) -> Iterator[str]:
    def differs(*names: str) -> bool:
        pairs = [(row[name], row[f"declared_{name}"]) for name in names]
        return any(None not in pair and pair[0] != pair[1] for pair in pairs)

    if differs("width", "height"):
        yield "size_mismatch"
    if differs("sha256"):
        yield "sha256_mismatch"


def _clean(text: str) -> str:
    """Replace what UTF-8 cannot hold (lone surrogates of undecodable names), so that a table can."""
    return text.encode("utf-8", "backslashreplace").decode()
