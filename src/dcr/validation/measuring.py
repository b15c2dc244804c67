"""One row per sample: image decoded, caption and declarations checked; one shard is the unit of work."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import fsspec
import pyarrow as pa
from PIL import __version__ as pillow_version

from dcr.decoding import DECODING_VERSION
from dcr.errors import UserError
from dcr.files import sha256_file
from dcr.shards import Sample, ShardReader
from dcr.validation.captions import MAX_TEXT, caption_findings, token_counter
from dcr.validation.images import ImageMeasures, measure_images
from dcr.validation.tables import ShardTable, TablePlan
from dcr.validation.workers import Workers

SCHEMA = pa.schema(
    {
        "key": pa.string(), "shard": pa.string(), "offset": pa.int64(),
        "format": pa.string(), "width": pa.int32(), "height": pa.int32(), "mode": pa.string(),
        "exif_orientation": pa.int32(), "animated": pa.bool_(), "decode_error": pa.string(),
        "luminance_mean": pa.float64(), "luminance_spread": pa.float64(), "phash": pa.string(),
        "num_bytes": pa.int64(), "sha256": pa.string(),
        "declared_width": pa.int32(), "declared_height": pa.int32(), "declared_sha256": pa.string(),
        "caption": pa.string(), "caption_length": pa.int32(),
        "caption_tokens": pa.int32(), "caption_truncated": pa.bool_(),
        "findings": pa.list_(pa.string()),
    }
)  # fmt: skip

# Raised whenever the same bytes would give other rows, so that tables of earlier versions are made anew.
_VERSION = 4
_BATCH_SAMPLES, _BATCH_BYTES = 64, 16 << 20  # read and measured at once; a batch ends with the image that fills it


@dataclass(frozen=True)
class Limits:
    """Where a sample begins to be wrong: sides and pixels in px, spread in luminance levels of 0 to 255.

    ``tokenizer`` is as in `dcr.validation.captions.token_counter`, None to count no tokens; ``context_length`` is
    the number of tokens that the text tower reads.
    """

    min_image_size: int
    max_aspect_ratio: float
    max_image_pixels: int
    min_luminance_spread: float
    tokenizer: str | None
    context_length: int


def plan_measuring(shards: dict[str, str], limits: Limits, workers: Workers) -> TablePlan:
    """Plan a table of `SCHEMA` for each shard; one shard is the unit of work.

    A table is kept while its fingerprint holds: that of the shard's bytes, its neighbours, the limits and Pillow.

    Args:
        shards: path to name, as `dcr.shards.name_shards` gives it.
        limits: see `Limits`.
        workers: where the work is done.
    """

    def make(known: dict[str, str | None]) -> Iterator[ShardTable]:
        from tqdm import tqdm

        calls = ((path, name, limits, known.get(name)) for path, name in shards.items())
        with tqdm(total=len(shards), desc="validate", unit="shard", disable=None) as bar:
            for table in workers.run(measure_shard, calls):
                bar.update()
                if table is not None:
                    yield table

    return TablePlan(list(shards.values()), make)


def fingerprint_shard(path: str, limits: Limits) -> str:
    """Return a hash of all that a shard's table depends on.

    Local shards are hashed whole, because sizes and times can stay the same when bytes do not; of remote ones the
    store's own marks of change are taken (fsspec's ``ukey``, and size, times and tags, as HTTP's ``ukey`` is the URL
    alone), so that they need not be read twice.

    Raises:
        UserError: the shard cannot be read.
    """
    try:
        fs, inner = fsspec.url_to_fs(path)
        content = sha256_file(inner) if "file" in fs.protocol else [fs.ukey(inner), str(fs.info(inner))]
    except (OSError, ValueError, ImportError) as exc:
        raise UserError(f"shard {path} cannot be opened: {exc}") from exc
    parts = [_VERSION, DECODING_VERSION, pillow_version, asdict(limits), content, _is_interrupted(path)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def measure_shard(path: str, name: str, limits: Limits, known: str | None = None) -> ShardTable | None:
    """Read one shard and return a row for every sample found in it, whatever is wrong with the sample.

    Returns:
        The rows of `SCHEMA` and a record of shard, fingerprint, num_bytes, num_samples, damage, unreadable_bytes,
        findings; None if the shard's fingerprint is ``known``.
    """
    fingerprint = fingerprint_shard(path, limits)
    if fingerprint == known:
        return None
    with ShardReader(path) as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings; what matters of them is a finding
        rows = [row for batch in _batches(reader) for row in measure_samples(batch, name, limits)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    record = {
        "shard": name, "fingerprint": fingerprint, "num_bytes": reader.size, "num_samples": len(rows),
        "damage": reader.damage, "unreadable_bytes": reader.unreadable_bytes,
        "findings": _shard_findings(path, reader, len(rows)),
    }  # fmt: skip
    return ShardTable(table, record)


def _shard_findings(path: str, reader: ShardReader, num_samples: int) -> list[str]:
    findings = []
    if num_samples == 0:
        findings.append("tar_unreadable" if reader.damage and reader.size else "shard_empty")
    elif reader.damage:
        findings.append("tar_damaged")
    if _is_interrupted(path):
        findings.append("shard_interrupted")
    return findings


def _is_interrupted(path: str) -> bool:
    stem = path.removesuffix(".tar")
    return _exists(f"{stem}.parquet") and not _exists(f"{stem}_stats.json")


def _exists(path: str) -> bool:
    if "://" not in path:
        return os.path.exists(path)
    fs, inner = fsspec.url_to_fs(path)
    return fs.exists(inner)


def _batches(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Group samples, a few megabytes at a time: stage by stage is faster than sample by sample."""
    batch, num_bytes = [], 0
    for sample in samples:
        batch.append(sample)
        num_bytes += len(sample.image or b"")
        if len(batch) == _BATCH_SAMPLES or num_bytes > _BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    yield batch


def measure_samples(samples: list[Sample], shard: str, limits: Limits) -> list[dict[str, Any]]:
    """Return a row of `SCHEMA` for each sample; ``findings`` names all reasons that the sample alone gives."""
    images = measure_images([sample.image for sample in samples], limits.max_image_pixels)
    captions = [_measure_caption(sample.caption, limits) for sample in samples]
    return [_row(sample, shard, *measures, limits) for sample, *measures in zip(samples, images, captions, strict=True)]


def _row(sample: Sample, shard: str, image: ImageMeasures, caption: dict[str, Any], limits: Limits) -> dict[str, Any]:
    row = vars(image) | _declared(sample.metadata) | caption
    row |= {
        "key": _clean(sample.key), "shard": shard, "offset": sample.offset,
        "num_bytes": None if sample.image is None else len(sample.image),
        "sha256": None if sample.image is None else hashlib.sha256(sample.image).hexdigest(),
    }  # fmt: skip
    reason, changes = row.pop("reason"), row.pop("changes")
    found = {*sample.problems, *changes, *_image_findings(row, limits), *caption_findings(sample), *_mismatches(row)}
    if row["caption_truncated"]:
        found.add("caption_truncated")
    if sample.image is None and not found & {"tar_truncated", "unsafe_member", "member_too_large"}:
        found.add("image_missing")
    return row | {"findings": sorted(found | {reason} - {None})}


def _measure_caption(caption: str | None, limits: Limits) -> dict[str, Any]:
    text = None if caption is None else _clean(caption)[:MAX_TEXT]
    counted = text is not None and limits.tokenizer is not None
    tokens = token_counter(limits.tokenizer)(text) if counted else None
    return {
        "caption": text,
        "caption_length": None if caption is None else len(caption),
        "caption_tokens": tokens,
        "caption_truncated": tokens > limits.context_length if counted else None,
    }


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


def _mismatches(row: dict[str, Any]) -> Iterator[str]:
    declared = row["declared_width"], row["declared_height"]
    upright = row["width"], row["height"]
    stored = upright[::-1] if (row["exif_orientation"] or 0) >= 5 else upright  # tools declare the one or the other
    if not any(all(_fit(*sides) for sides in zip(declared, size, strict=True)) for size in (upright, stored)):
        yield "size_mismatch"
    if not _fit(row["declared_sha256"], row["sha256"]):
        yield "sha256_mismatch"


def _fit(declared: Any, found: Any) -> bool:
    return None in (declared, found) or declared == found


def _clean(text: str) -> str:
    """Replace what UTF-8 cannot hold (lone surrogates of undecodable names), so that a table can."""
    return text.encode("utf-8", "backslashreplace").decode()
