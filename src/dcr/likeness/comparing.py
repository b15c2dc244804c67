"""What features tell of every sample: a table for each shard, as validation judges by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dcr.evaluation.embedding import Embedder, embed_images
from dcr.fingerprints import code_hash, fingerprint
from dcr.likeness.searching import add_unlike, build_index, distances, nearest_of
from dcr.progress import show_progress
from dcr.validation.declared import Likeness
from dcr.validation.tables import SampleTables, ShardTable, TablePlan

if TYPE_CHECKING:
    from dcr.data.benchmark_sets import BenchmarkSet


class EvaluationFeatures:
    """Features of the images that training must not see, by one encoder.

    Args:
        embedder: the recipe's backbone, with the cache that evaluation has too.
        sets: the evaluation sets, by name.
    """

    def __init__(self, embedder: Embedder, sets: dict[str, BenchmarkSet]) -> None:
        self._embedder = embedder
        self._sets = sets

    def fingerprint(self) -> str:
        """Return a hash of all images that are looked for."""
        return fingerprint(**{name: one.fingerprint for name, one in self._sets.items()})

    def load(self) -> tuple[list[str], np.ndarray]:
        """Return their names, ``<set>/<id or key>``, and unit vectors (E, d) float32."""
        names: list[str] = []
        vectors = [np.empty((0, self._embedder.backbone.embed_dim), np.float32)]
        for name, one in self._sets.items():
            names += [f"{name}/{sample.key}" for sample in _samples(one)]
            vectors.append(self._embed(name, one))
        found = np.concatenate(vectors)
        return names, found / np.linalg.norm(found, axis=1, keepdims=True)

    def _embed(self, name: str, one: BenchmarkSet) -> np.ndarray:
        embedder = self._embedder
        images = (sample.image for sample in _samples(one))
        return embedder.once(
            lambda: embed_images(
                embedder.backbone, images, embedder.batch_size, name, embedder.num_workers
            ),
            f"images to look for: {name}",
            lambda: {"all images of": one.fingerprint, "reading": code_hash(type(one).__module__)},
        )


def _samples(one: BenchmarkSet) -> Iterator[Any]:
    from dcr.data.benchmark_sets import MMVPSet

    return iter(one.samples() if isinstance(one, MMVPSet) else one.samples("test"))


def plan_likenesses(
    features: SampleTables, limits: Likeness, evaluation: EvaluationFeatures
) -> TablePlan:
    """Plan what `dcr.validation.likenesses.SCHEMA` tells of every sample, a table for each shard.

    All are made anew where a shard, a limit or an evaluation image has changed, since each sample
    is compared with all others; else none is.

    Args:
        features: as `dcr.likeness.features.plan_features` has them made.
        limits: what is asked, and from where on it counts.
        evaluation: the images that training must not see.
    """
    records = features.records()

    def make(known: dict[str, str | None]) -> Iterator[ShardTable]:
        """Compare all samples, unless the tables in ``known`` are of just these."""
        key = fingerprint(
            code=code_hash(__name__),
            features=[record["fingerprint"] for record in records],
            limits=limits.asked(),
            evaluation=(
                evaluation.fingerprint() if limits.min_evaluation_similarity is not None else None
            ),
        )
        if all(known.get(record["shard"]) == key for record in records):
            return
        compared = _compare(features, limits, evaluation)
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
            record = table.record | {"fingerprint": key, "limits": limits.asked()}
            yield ShardTable(rows, record)
            start = here.stop

    return TablePlan([record["shard"] for record in records], make)


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
            yield _vectors(table.rows)

    if limits.min_duplicate_similarity is not None or limits.max_neighbour_distance is not None:
        index = build_index(blocks, count)
        like = add_unlike(index, blocks, limits.min_duplicate_similarity)
        if limits.max_neighbour_distance is not None:
            far = distances(index, blocks, limits.num_neighbours)
    names: Sequence[str | None] = [None] * count
    if limits.min_evaluation_similarity is not None:
        known, vectors = evaluation.load()
        if len(known):
            others = build_index(lambda: [vectors], len(vectors))
            add_unlike(others, lambda: [vectors], None)
            found = nearest_of(others, blocks, limits.min_evaluation_similarity)
            names = [known[place] if place >= 0 else None for place in found]
    return {
        "neighbour_distance": pa.array(far, pa.float32(), from_pandas=True),
        "like": pa.array(like, pa.int64(), mask=like < 0),
        "near_evaluation": pa.array(names, pa.string()),
    }


def _vectors(rows: pa.Table) -> np.ndarray:
    column = rows["features"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    vectors: np.ndarray = flat.reshape(-1, column.type.list_size).astype(np.float32)
    return vectors
