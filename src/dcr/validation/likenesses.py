"""What the pipeline `likeness` found of samples by their features, as reasons to judge them by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcr.errors import UserError
from dcr.fingerprints import json_hash
from dcr.validation.declared import Likeness
from dcr.validation.tables import SampleTables

SCHEMA = pa.schema(
    {
        "text_similarity": pa.float32(), "neighbour_distance": pa.float32(), "like": pa.int64(),
        "near_evaluation": pa.string(),
    }
)  # fmt: skip
SHOWN = ("text_similarity", "neighbour_distance")
"""The columns that are told of every sample."""
EMBEDDED = ["offset", "sha256", "caption", "luminance_mean"]
"""The columns of measured rows that features depend on."""


class Likenesses:
    """The findings on all samples, in the order of their tables.

    Args:
        found: what the pipeline left, see `SCHEMA`; None if it never ran.
        samples: the measured rows that it must be of.
        limits: those that it must have had.

    Raises:
        UserError: limits are set, and the pipeline never ran, or ran on other samples or by other
            limits.
    """

    def __init__(self, found: SampleTables | None, samples: SampleTables, limits: Likeness) -> None:
        self.is_asked = bool(limits.asked())
        self._found = found
        self._limits = limits
        self._counts = [record["num_samples"] for record in samples.records()]
        if self.is_asked and not (found and _is_of(found, samples, limits)):
            raise UserError(
                f"likeness.{next(iter(limits.asked()))} is set, but the pipeline likeness has not"
                " compared these samples by these limits: list it in `pipelines` of globals.yml,"
                " or run `kedro run --pipelines likeness,validation`"
            )

    def tables(self) -> Iterator[pa.Table]:
        """Yield each shard's rows of `SCHEMA`, all of them null where nobody asks."""
        if self._found is not None and self.is_asked:
            yield from (table.rows for table in self._found.tables())
        else:
            for count in self._counts:
                columns = [pa.nulls(count, field.type) for field in SCHEMA]
                yield pa.table(columns, schema=SCHEMA)

    def findings(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Return for each reason which of a shard's samples have it, bool (n,).

        Args:
            rows: of `SCHEMA`.
        """
        limits = self._limits
        return {
            "caption_mismatch": _beyond(rows["text_similarity"], limits.min_text_similarity, -1),
            "outlier": _beyond(rows["neighbour_distance"], limits.max_neighbour_distance, 1),
            "near_evaluation_features": pc.is_valid(rows["near_evaluation"]).to_numpy(),
        }


def hash_samples(rows: pa.Table) -> str:
    """Return a hash of what features depend on: which images and captions, not how they measured.

    Args:
        rows: of one shard, at least the columns `EMBEDDED`.
    """
    words = [rows[name].to_pylist() for name in ("offset", "sha256", "caption")]
    return json_hash([*words, pc.is_valid(rows["luminance_mean"]).to_pylist()])


def _is_of(found: SampleTables, samples: SampleTables, limits: Likeness) -> bool:
    there = {table.record["shard"]: hash_samples(table.rows) for table in samples.tables(EMBEDDED)}
    records = found.records()
    return {record["shard"]: record["samples"] for record in records} == there and all(
        record["limits"] == limits.asked() for record in records
    )


def _beyond(column: pa.ChunkedArray, limit: float | None, sign: int) -> np.ndarray:
    if limit is None:
        return np.zeros(len(column), bool)
    values = pc.fill_null(column, limit).to_numpy()
    beyond: np.ndarray = sign * values > sign * np.float32(limit)
    return beyond
