"""What features tell of every sample: a table for each shard, as validation judges by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from dcr.fingerprints import code_hash, fingerprint
from dcr.likeness.evaluation_images import EvaluationFeatures
from dcr.likeness.features import to_vectors
from dcr.likeness.index import faiss_version
from dcr.likeness.searching import add_unlike, build_index, distances, nearest_of
from dcr.progress import show_progress
from dcr.validation.declared import Likeness
from dcr.validation.likenesses import Terms
from dcr.validation.tables import Known, SampleTables, ShardTable, TablePlan


def plan_likenesses(
    features: SampleTables, terms: Terms, evaluation: EvaluationFeatures
) -> TablePlan:
    """Plan what `dcr.validation.likenesses.SCHEMA` tells of every sample, a table for each shard.

    All are made anew where a shard, a limit or an evaluation image has changed, since each sample
    is compared with all others; else none is.

    Args:
        features: as `dcr.likeness.features.plan_features` has them made.
        terms: what is asked, and from where on it counts; recorded, as findings hold by them alone.
        evaluation: the images that training must not see, none where nobody asks.

    Raises:
        UserError: something is searched for, and faiss is not installed.
    """
    records = features.records()

    def make(known: Known) -> Iterator[ShardTable]:
        """Compare all samples, unless the tables in ``known`` are of just these."""
        key = fingerprint(
            code=code_hash(__name__),
            faiss=faiss_version() if _searches(terms.limits) else None,
            features=[record["fingerprint"] for record in records],
            terms=terms.record(),
            evaluation=evaluation.fingerprint,
        )
        if all(known.get(record["shard"]) == key for record in records):
            return
        compared = _compare(features, terms.limits, evaluation)
        start = 0
        for table in features.tables(["text_similarity"]):
            here = slice(start, start + len(table.rows))
            rows = pa.table(
                {
                    "text_similarity": table.rows["text_similarity"],
                    **{
                        name: column.slice(here.start, len(table.rows))
                        for name, column in compared.items()
                    },
                }
            )
            yield ShardTable(rows, table.record | {"fingerprint": key, **terms.record()})
            start = here.stop

    return TablePlan([record["shard"] for record in records], make)


def _searches(limits: Likeness) -> bool:
    return bool(limits.asked().keys() - {"min_text_similarity"})


def _compare(
    features: SampleTables, limits: Likeness, evaluation: EvaluationFeatures
) -> dict[str, pa.Array]:
    count = features.num_samples()
    like = np.full(count, -1, np.int64)
    far = np.full(count, np.nan, np.float32)

    def blocks() -> Iterator[np.ndarray]:
        """Yield the vectors of each shard, (n, d) float32."""
        shown = show_progress(
            features.tables(["features"]),
            total=len(features.records()),
            desc="compare",
            unit="shard",
        )
        for table in shown:
            yield to_vectors(table.rows["features"])

    if limits.min_duplicate_similarity is not None or limits.max_neighbour_distance is not None:
        index = build_index(blocks, count)
        like = add_unlike(index, blocks, limits.min_duplicate_similarity)
        if limits.max_neighbour_distance is not None:
            far = distances(index, blocks, limits.num_neighbours)
    names: Sequence[str | None] = [None] * count
    if limits.min_evaluation_similarity is not None and evaluation.names:
        vectors = evaluation.vectors
        others = build_index(lambda: [vectors], len(vectors))
        add_unlike(others, lambda: [vectors], None)
        found = nearest_of(others, blocks, limits.min_evaluation_similarity)
        names = [evaluation.names[place] if place >= 0 else None for place in found]
    return {
        "neighbour_distance": pa.array(far, pa.float32(), from_pandas=True),
        "like": pa.array(like, pa.int64(), mask=like < 0),
        "near_evaluation": pa.array(names, pa.string()),
    }
