"""Measured samples made up for tests, and their fates."""

import hashlib
import os
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from dcr.data.shards import CaptionNames
from dcr.validation import likenesses
from dcr.validation.contamination import EvaluationImages
from dcr.validation.declared import PLAIN, Likeness
from dcr.validation.judging import plan_judging
from dcr.validation.likenesses import Likenesses, Terms
from dcr.validation.measuring import SCHEMA, Limits, measure_shard
from dcr.validation.reasons import REASONS
from dcr.validation.tables import SampleTables, ShardTable, TablePlan, write_tables

LIMITS = Limits(
    min_image_size=32,
    max_aspect_ratio=3.0,
    max_image_pixels=10_000,
    min_luminance_spread=2.0,
    min_luminance_high=20.0,
    max_luminance_low=250.0,
    min_entropy=0.5,
    min_sharpness=0.5,
    max_flat_border=0.9,
    max_text_border=0.9,
    caption_names=CaptionNames(),
    caption_choice="first",
    min_language_confidence=0.5,
    tokenizer=None,
    tokenizer_file="",
    cleaning="none",
    context_length=77,
    max_seconds_per_megabyte=2.0,
    max_gigabytes=4.0,
)
CAPTIONS = {
    "missing": 0,
    "several": 3,
    "languages": {"en": 3, "und": 1},
    "tokenizer": {
        "name": "clip", "context_length": 77, "why_not": None, "counted": 4, "cut": 1,
    },
}  # fmt: skip
"""What the data card tells of captions, as pages take it."""
POLICIES = dict.fromkeys(REASONS, "reject") | {
    "caption_missing": "warn",
    "greyscale": "warn",
    "animated": "accept",
    "tar_damaged": "warn",
}
NO_LIMITS = Likeness(None, None, None, None, 8)
NO_EVALUATION = EvaluationImages([], np.zeros((0, 2), np.uint64), np.zeros(0, np.uint64), 4)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def shard(name, *samples, findings=(), unreadable_bytes=0, apart=None) -> ShardTable:
    """Return a shard of samples (key, image, findings, phash or None); equal images have equal
    bytes.
    """
    rows = [
        {
            "key": key, "shard": name, "offset": 512 * place, "findings": list(found),
            "phash": rest[0] if rest else None, "sha256": None if image is None else sha256(image),
        }
        for place, (key, image, found, *rest) in enumerate(samples)
    ]  # fmt: skip
    record = {
        "shard": name,
        "num_samples": len(rows),
        "findings": list(findings),
        "unreadable_bytes": unreadable_bytes,
        "damage": "it is cut" if unreadable_bytes else None,
        "num_bytes": 10_240,
        "apart": apart,
    }
    return ShardTable(pa.Table.from_pylist(rows, schema=SCHEMA), record)


def write(folder: Path, *shards: ShardTable) -> SampleTables:
    """Write shards' tables and return them as they are read back."""
    write_tables(folder, TablePlan([s.record["shard"] for s in shards], lambda _: iter(shards)))
    return SampleTables(folder)


def alike(folder: Path, limits: Likeness, measured: ShardTable, **columns) -> SampleTables:
    """Return what pipeline `likeness` would leave of one shard by ``limits``: ``columns`` of
    `dcr.validation.likenesses.SCHEMA`, those that are not named null.
    """
    count = len(measured.rows)
    rows = pa.table(
        [columns.get(field.name, [None] * count) for field in likenesses.SCHEMA],
        schema=likenesses.SCHEMA,
    )
    record = {
        **{name: measured.record[name] for name in ("shard", "num_samples")},
        "samples": likenesses.hash_samples(measured.rows),
        "fingerprint": "one run",
        **Terms(limits, None, None).record(),
    }
    return write(folder / "likenesses", ShardTable(rows, record))


def judged(
    folder: Path,
    *shards: ShardTable,
    evaluation=NO_EVALUATION,
    distance=-1,
    found=None,
    limits=NO_LIMITS,
    sources=MappingProxyType({}),
    **policies,
) -> SampleTables:
    """Write and judge shards, with the policies above and changes of them; ``found`` and
    ``limits`` are as `Likenesses` takes them, ``sources`` names those of other sources than the
    plain one.
    """
    measured = write(folder / "measured", *shards)
    terms = Terms(limits, None, None)
    sources = {s.record["shard"]: sources.get(s.record["shard"], PLAIN) for s in shards}
    plan = plan_judging(
        measured,
        evaluation,
        distance,
        POLICIES | policies,
        Likenesses(found, measured, terms),
        sources,
    )
    write_tables(folder / "judged", plan)
    return SampleTables(folder / "judged")


def measure_and_name_worker(path: str, name: str, limits: Limits) -> tuple[int, ShardTable]:
    """Measure a shard and say in which process; here, because workers import it by name."""
    return os.getpid(), measure_shard(path, name, limits)
