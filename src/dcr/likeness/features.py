"""Every sample's features, computed once: a table for each shard, found again by fingerprint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcr.data.decoding import decode_rgb
from dcr.data.shards import read_validated
from dcr.evaluation.embedding import Embedder, embed_images, embed_texts
from dcr.fingerprints import code_hash, fingerprint
from dcr.metrics.embeddings import normalize
from dcr.progress import show_progress
from dcr.validation.likenesses import EMBEDDED, hash_captions, hash_images, hash_samples
from dcr.validation.tables import Known, SampleTables, ShardTable, TablePlan


def plan_features(
    shards: Mapping[str, str], samples: SampleTables, embedder: Embedder, with_texts: bool
) -> TablePlan:
    """Plan a table of features for each shard; memory holds a batch, and one shard's features.

    A table has the columns ``features`` (d halves, of unit length, zeros where the image was not
    decoded) and ``text_similarity`` (the cosine of image and caption, null without either), a row
    for each of the shard's samples. Features stay where captions alone are new.

    Args:
        shards: path to name, as `dcr.data.shards.name_shards` gives it.
        samples: the measured rows, see `dcr.validation.measuring`.
        embedder: the encoder, on the device that it is to be used on.
        with_texts: whether captions are embedded, too.

    Raises:
        UserError: a shard was measured that is none of ``shards``.
    """
    paths = {name: path for path, name in shards.items()}
    records = samples.records()
    samples.require(paths)

    def make(known: Known) -> Iterator[ShardTable]:
        """Embed what the tables in ``known`` do not hold."""
        with show_progress(total=len(records), desc="embed", unit="shard") as bar:
            for record, table in zip(records, samples.tables(EMBEDDED), strict=True):
                name = record["shard"]
                keys = _keys(table.rows, embedder, with_texts)
                if known.get(name) != keys.whole:
                    shard = _Shard(paths[name], name, table.rows, embedder)
                    rows = shard.embed(_kept(known, name, keys), with_texts)
                    yield ShardTable(rows, _record(record, table.rows, keys))
                bar.update()

    return TablePlan([record["shard"] for record in records], make)


@dataclass(frozen=True)
class _Keys:
    """Fingerprints of a shard's features, and of the whole table."""

    images: str
    whole: str


def _keys(rows: pa.Table, embedder: Embedder, with_texts: bool) -> _Keys:
    code = code_hash(__name__)
    images = fingerprint(code=code, images=hash_images(rows), encoder=embedder.fingerprint.images)
    texts = [hash_captions(rows), embedder.fingerprint.texts] if with_texts else None
    return _Keys(images, fingerprint(images=images, texts=texts))


def _kept(known: Known, name: str, keys: _Keys) -> pa.ChunkedArray | None:
    """Return the column of a shard's features if that still holds."""
    if name not in known:
        return None
    there = known.read(name)
    return there.rows["features"] if there.record.get("images") == keys.images else None


def _record(measured: dict[str, Any], rows: pa.Table, keys: _Keys) -> dict[str, Any]:
    return {
        "shard": measured["shard"],
        "num_samples": measured["num_samples"],
        "samples": hash_samples(rows),
        "images": keys.images,
        "fingerprint": keys.whole,
    }


class _Shard:
    """One shard, whose decoded samples are embedded.

    Args:
        path, name: of the tar, and what tables call it.
        rows: of its samples, `EMBEDDED`.
        embedder: the encoder.
    """

    def __init__(self, path: str, name: str, rows: pa.Table, embedder: Embedder) -> None:
        self._path = path
        self._name = name
        self._rows = rows
        self._embedder = embedder
        self._known = np.flatnonzero(pc.is_valid(rows["luminance_mean"]).to_numpy())

    def embed(self, features: pa.ChunkedArray | None, with_texts: bool) -> pa.Table:
        """Return the table that `plan_features` tells of; ``features`` are those that are kept."""
        features = self._features() if features is None else features
        similarities = self._similarities(features) if with_texts else [None] * len(self._rows)
        return pa.table(
            {"features": features, "text_similarity": pa.array(similarities, pa.float32())}
        )

    def _features(self) -> pa.Array:
        width = self._embedder.backbone.embed_dim
        features = np.zeros((len(self._rows), width), np.float16)
        if len(self._known):
            features[self._known] = normalize(self._images())
        return pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), width)

    def _images(self) -> np.ndarray:
        chosen = self._rows.take(self._known)
        hashes = dict(zip(chosen["offset"].to_pylist(), chosen["sha256"].to_pylist(), strict=True))
        contents = (sample.image for sample in read_validated(self._path, hashes))
        embedder = self._embedder
        return embed_images(
            embedder.backbone,
            contents,
            embedder.batch_size,
            self._name,
            embedder.num_workers,
            decode_rgb,
        )

    def _similarities(self, features: pa.Array | pa.ChunkedArray) -> list[float | None]:
        captions = self._rows["caption"].to_pylist()
        said = [int(place) for place in self._known if (captions[place] or "").strip()]
        similarities: list[float | None] = [None] * len(captions)
        if said:
            embedder = self._embedder
            words = [captions[place] for place in said]
            texts = embed_texts(embedder.backbone, words, embedder.batch_size, self._name)
            images = to_vectors(features.take(pa.array(said)))
            cosines = (normalize(images) * normalize(texts)).sum(axis=1)
            for place, cosine in zip(said, cosines.tolist(), strict=True):
                similarities[place] = cosine
        return similarities


def to_vectors(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return a ``column`` of features as an array (n, d), float32."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat = whole.flatten().to_numpy(zero_copy_only=False)
    vectors: np.ndarray = flat.reshape(-1, whole.type.list_size).astype(np.float32)
    return vectors
