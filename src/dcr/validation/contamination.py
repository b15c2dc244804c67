"""Training images that are also in an evaluation set: found by bytes and by perceptual hash."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dcr.errors import UserError
from dcr.fingerprints import json_hash
from dcr.validation.duplicates import bit_blocks
from dcr.validation.images import measure_image

if TYPE_CHECKING:
    import pandas as pd

    from dcr.data.benchmark_sets import BenchmarkSet, NamedSet

logger = logging.getLogger(__name__)

SCHEMA = pa.schema({"image": pa.string(), "sha256": pa.string(), "phash": pa.string()})


def open_sets(sets: Sequence[NamedSet]) -> dict[str, BenchmarkSet]:
    """Open every set, before hours are spent on the shards; return them by name.

    Args:
        sets: as the recipe lists them; names are unique.

    Raises:
        UserError: naming every set that cannot be opened.
    """
    opened = {}
    failures = []
    for named in sets:
        try:
            opened[named.name] = named.open()
        except UserError as error:
            failures.append(f"{named.name}: {error}")
    if failures:
        raise UserError(f"evaluation sets cannot be read: {'; '.join(failures)}")
    if not opened:
        logger.warning(
            "the recipe has no evaluation set: no image is looked for in one, and nothing will be"
            " scored"
        )
    return opened


def fingerprint_sets(sets: Mapping[str, BenchmarkSet], max_pixels: int) -> Iterator[pa.Table]:
    """Yield a table of `SCHEMA` for each set, a row an image; ``image`` is ``<set>/<id or key>``.

    Args:
        sets: by name; only the images that scores are computed on are read.
        max_pixels: that a header may declare; images that cannot be decoded are left out, and told.
    """
    yield SCHEMA.empty_table()
    for name, benchmark_set in sets.items():
        rows = []
        for sample in chain.from_iterable(part.samples() for part in benchmark_set.tested):
            rows.append(
                {
                    "image": f"{name}/{sample.key}",
                    "sha256": hashlib.sha256(sample.content).hexdigest(),
                    "phash": measure_image(sample.content, max_pixels).phash,
                }
            )
        if broken := [row["image"] for row in rows if not row["phash"]]:
            logger.warning(
                "evaluation images that cannot be decoded: %d, %s first", len(broken), broken[0]
            )
        yield pa.Table.from_pylist([row for row in rows if row["phash"]], schema=SCHEMA)


def count_images(images: Iterable[str]) -> dict[str, int]:
    """Return how many of ``images``, named as in `SCHEMA`, each set has."""
    return dict(Counter(image.partition("/")[0] for image in images))


def hash_evaluation(images: pd.DataFrame) -> str:
    """Return a hash of which ``images``, rows of `SCHEMA`, are looked for."""
    return json_hash([list(images["image"]), list(images["sha256"])])


class EvaluationImages:
    """The images of all evaluation sets, to look training images up in.

    Lookup takes d + 2 blocks of the perceptual hashes' bits, of which two are equal in any pair
    within a distance of d: each pair of blocks has a sorted table, and a query is compared with its
    equals there alone.

    Args:
        names: what each image is called.
        sha256: uint64 (E, 2), the first 128 bits.
        phash: uint64 (E,).
        distance: of perceptual hashes, in bits.
    """

    def __init__(
        self, names: list[str], sha256: np.ndarray, phash: np.ndarray, distance: int
    ) -> None:
        self.names = names
        self._phash = phash
        self._distance = distance
        self._rows = {bits.tobytes(): row for row, bits in reversed(list(enumerate(sha256)))}
        masks = [np.bitwise_or(*pair) for pair in combinations(bit_blocks(distance + 2), 2)]
        orders = [np.argsort(phash & mask, kind="stable") for mask in masks]
        self._tables = [
            (mask, order, (phash & mask)[order]) for mask, order in zip(masks, orders, strict=True)
        ]

    @classmethod
    def of_table(cls, table: pd.DataFrame, distance: int) -> EvaluationImages:
        """Build from ``table``, rows of `SCHEMA`, to look within ``distance`` bits."""
        sha256 = hex_to_uint64(table["sha256"], 2)
        return cls(list(table["image"]), sha256, hex_to_uint64(table["phash"], 1)[:, 0], distance)

    def equal_to(self, sha256: np.ndarray) -> np.ndarray:
        """Return for each of ``sha256``, uint64 (N, 2), the image that equals it, -1 for none."""
        return np.array([self._rows.get(bits.tobytes(), -1) for bits in sha256], np.int32)

    def near_to(self, phash: np.ndarray) -> np.ndarray:
        """Return the nearest image within the distance, -1 for none, for each of ``phash``.

        ``phash`` is uint64 (N,).
        """
        nearest = np.full(len(phash), -1, np.int32)
        best = np.full(len(phash), self._distance + 1)
        for mask, order, keys in self._tables:
            at, stop = (np.searchsorted(keys, phash & mask, side) for side in ("left", "right"))
            active = np.flatnonzero(at < stop)
            while len(active):
                rows = order[at[active]]
                found = np.bitwise_count(phash[active] ^ self._phash[rows])
                nearer = found < best[active]
                nearest[active[nearer]] = rows[nearer]
                best[active[nearer]] = found[nearer]
                at[active] += 1
                active = active[at[active] < stop[active]]
        return nearest


def hex_to_uint64(texts: Iterable[str | None], words: int) -> np.ndarray:
    """Return the first ``words`` * 64 bits of hex ``texts``, uint64 (N, words); zeros for None."""
    digits = 16 * words
    joined = "".join(text[:digits] if text else "0" * digits for text in texts)
    return np.frombuffer(bytes.fromhex(joined), ">u8").astype(np.uint64).reshape(-1, words)
