"""What the pipeline `likeness` found of samples by their features, as reasons to judge them by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcr.data.sources import identify_backbone
from dcr.errors import UserError
from dcr.fingerprints import json_hash
from dcr.validation.contamination import hash_evaluation
from dcr.validation.declared import Likeness
from dcr.validation.tables import SampleTables

if TYPE_CHECKING:
    import pandas as pd

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


@dataclass(frozen=True)
class Terms:
    """What findings are by, beside the samples: they hold by these terms alone.

    Attributes:
        limits: what is asked, and from where on it counts.
        backbone: which encoder gave the features, see `dcr.data.sources.identify_backbone`; None
            where nobody asks.
        evaluation_images: which images were looked for, see
            `dcr.validation.contamination.hash_evaluation`; None where nobody asks.
    """

    limits: Likeness
    backbone: str | None
    evaluation_images: str | None

    @classmethod
    def of(cls, limits: Likeness, backbone: str, evaluation_images: pd.DataFrame) -> Terms:
        """Return the terms of a recipe.

        Args:
            limits: its own.
            backbone: its source, as `dcr.models.backbones.load_backbone` takes it.
            evaluation_images: rows of `dcr.validation.contamination.SCHEMA`.

        Raises:
            UserError: something is asked, and the backbone is not on this machine.
        """
        looks = limits.min_evaluation_similarity is not None
        return cls(
            limits,
            identify_backbone(backbone) if limits.asked() else None,
            hash_evaluation(evaluation_images) if looks else None,
        )

    def record(self) -> dict[str, Any]:
        """Return what is kept of them with each shard's findings."""
        return {
            "limits": self.limits.asked(),
            "backbone": self.backbone,
            "evaluation_images": self.evaluation_images,
        }


class Likenesses:
    """The findings on all samples, in the order of their tables.

    Args:
        found: what the pipeline left, see `SCHEMA`; None if it never ran.
        samples: the measured rows that it must be of.
        terms: those that it must have had.

    Raises:
        UserError: limits are set, and the pipeline never ran, ran on other samples or by other
            terms, or was stopped before all findings were written.
    """

    def __init__(self, found: SampleTables | None, samples: SampleTables, terms: Terms) -> None:
        self.is_asked = bool(terms.limits.asked())
        self._found = found
        self._limits = terms.limits
        self._counts = [record["num_samples"] for record in samples.records()]
        if self.is_asked and (lacking := _lacking(found, samples, terms)) is not None:
            raise UserError(
                f"likeness.{next(iter(terms.limits.asked()))} is set, but the pipeline likeness has"
                f" not compared these samples{lacking}: list it in `pipelines` of globals.yml, or"
                " run `kedro run --pipelines likeness,validation`"
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
    """Return a hash of which images and captions samples have, not of how they measured.

    Args:
        rows: of one shard, at least the columns `EMBEDDED`.
    """
    return json_hash([hash_images(rows), hash_captions(rows)])


def hash_images(rows: pa.Table) -> str:
    """Return a hash of which images the ``rows`` of a shard have, and which were decoded."""
    words = [rows[name].to_pylist() for name in ("offset", "sha256")]
    return json_hash([*words, pc.is_valid(rows["luminance_mean"]).to_pylist()])


def hash_captions(rows: pa.Table) -> str:
    """Return a hash of the captions of the ``rows`` of a shard."""
    return json_hash(rows["caption"].to_pylist())


def _lacking(found: SampleTables | None, samples: SampleTables, terms: Terms) -> str | None:
    """Say by which terms the samples were not compared; None where they were."""
    records = found.records() if found else []
    compared = {record["shard"]: record["samples"] for record in records}
    if compared != {t.record["shard"]: hash_samples(t.rows) for t in samples.tables(EMBEDDED)}:
        return ""
    names = {
        "limits": " by these limits",
        "backbone": " by this backbone",
        "evaluation_images": " with these evaluation images",
    }
    for name, wanted in terms.record().items():
        if any(record.get(name) != wanted for record in records):
            return names[name]
    runs = {record["fingerprint"] for record in records}
    return " in one run, as it was stopped in between" if len(runs) > 1 else None


def _beyond(column: pa.ChunkedArray, limit: float | None, sign: int) -> np.ndarray:
    if limit is None:
        return np.zeros(len(column), bool)
    values = pc.fill_null(column, limit).to_numpy()
    beyond: np.ndarray = sign * values > sign * np.float32(limit)
    return beyond
