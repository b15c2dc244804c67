"""Every sample's features, computed once: a table for each shard, found again by fingerprint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcr.data.decoding import decode_rgb
from dcr.evaluation.cache import EncoderFingerprint
from dcr.evaluation.embedding import embed_images, embed_texts
from dcr.fingerprints import code_hash, fingerprint
from dcr.latents.cropping import CropTask, iterate_samples
from dcr.metrics.embeddings import normalize
from dcr.progress import show_progress
from dcr.validation.likenesses import EMBEDDED, hash_samples
from dcr.validation.tables import SampleTables, ShardTable, TablePlan

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone


def plan_features(
    shards: Mapping[str, str],
    samples: SampleTables,
    backbone: Backbone,
    batch_size: int,
    num_workers: int,
    with_texts: bool,
) -> TablePlan:
    """Plan a table of features for each shard; memory holds a batch, and one shard's features.

    A table has the columns ``features`` (d halves, of unit length, zeros where the image was not
    decoded) and ``text_similarity`` (the cosine of image and caption, null without either), a row
    for each of the shard's samples.

    Args:
        shards: path to name, as `dcr.data.shards.name_shards` gives it.
        samples: the measured rows, see `dcr.validation.measuring`.
        backbone: the encoder, on the device that it is to be used on.
        batch_size: images, and captions, in one pass of a tower.
        num_workers: threads that decode ahead of the tower.
        with_texts: whether captions are embedded, too.
    """
    paths = {name: path for path, name in shards.items()}

    def make(known: dict[str, str | None]) -> Iterator[ShardTable]:
        """Embed the shards whose fingerprint in ``known`` does not hold."""
        encoder = EncoderFingerprint.of(backbone)
        sides = {"images": encoder.images, "texts": encoder.texts if with_texts else None}
        records = samples.records()
        with show_progress(total=len(records), desc="embed", unit="shard") as bar:
            for record, table in zip(records, samples.tables(EMBEDDED), strict=True):
                name = record["shard"]
                held = hash_samples(table.rows)
                key = fingerprint(code=code_hash(__name__), samples=held, **sides)
                if known.get(name) != key:
                    shard = _Shard(paths[name], name, table.rows, backbone, batch_size, num_workers)
                    yield ShardTable(shard.embed(with_texts), _record(record, held, key))
                bar.update()

    return TablePlan([record["shard"] for record in samples.records()], make)


def _record(measured: dict[str, Any], held: str, key: str) -> dict[str, Any]:
    return {
        "shard": measured["shard"],
        "num_samples": measured["num_samples"],
        "samples": held,
        "fingerprint": key,
    }


class _Shard:
    """One shard, whose decoded samples are embedded.

    Args:
        path, name: of the tar, and what tables call it.
        rows: of its samples, `EMBEDDED`.
        backbone, batch_size, num_workers: as in `plan_features`.
    """

    def __init__(
        self,
        path: str,
        name: str,
        rows: pa.Table,
        backbone: Backbone,
        batch_size: int,
        num_workers: int,
    ) -> None:
        self._path = path
        self._name = name
        self._rows = rows
        self._backbone = backbone
        self._batch_size = batch_size
        self._num_workers = num_workers

    def embed(self, with_texts: bool) -> pa.Table:
        """Return the table that `plan_features` tells of."""
        width = self._backbone.embed_dim
        known = np.flatnonzero(pc.is_valid(self._rows["luminance_mean"]).to_numpy())
        features = np.zeros((len(self._rows), width), np.float16)
        similarities: list[float | None] = [None] * len(self._rows)
        if len(known):
            images = normalize(self._images(known))
            features[known] = images.astype(np.float16)
            if with_texts:
                self._compare_texts(known, images, similarities)
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), width)
        return pa.table(
            {"features": column, "text_similarity": pa.array(similarities, pa.float32())}
        )

    def _images(self, known: np.ndarray) -> np.ndarray:
        chosen = self._rows.take(known)
        hashes = dict(zip(chosen["offset"].to_pylist(), chosen["sha256"].to_pylist(), strict=True))
        task = CropTask(self._path, hashes, {})
        contents = (sample.image for sample in iterate_samples(task))
        return embed_images(
            self._backbone, contents, self._batch_size, self._name, self._num_workers, decode_rgb
        )

    def _compare_texts(
        self, known: np.ndarray, images: np.ndarray, similarities: list[float | None]
    ) -> None:
        captions = self._rows["caption"].take(pa.array(known)).to_pylist()
        said = [place for place, caption in enumerate(captions) if caption and caption.strip()]
        if not said:
            return
        texts = normalize(
            embed_texts(
                self._backbone, [captions[place] for place in said], self._batch_size, self._name
            )
        )
        cosines = (images[said] * texts).sum(axis=1)
        for place, cosine in zip(said, cosines.tolist(), strict=True):
            similarities[int(known[place])] = cosine
