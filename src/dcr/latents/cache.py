"""Random access to cached latents."""

from __future__ import annotations

import bisect
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count

from dcr.errors import UserError
from dcr.fingerprints import json_hash
from dcr.latents.encoding import from_stored
from dcr.latents.format import DamagedShardError, ShardRecord, check_bytes, read_index, read_record
from dcr.latents.plan_file import OfSources, read_plan, sources_of_shards
from dcr.progress import show_progress

_REPAIRS = {
    "latents": "make it again with `kedro run --pipelines verify --params verify.repair=true`",
    "synthesis": "remove that file and make it again with `kedro run --pipelines synthesis`",
}
_NUM_READERS = 8  # threads that check hashes: beyond a disk's own speed more of them gain nothing
# Files that this process has checked, as they were then.
_checked: set[tuple[str | int, ...]] = set()
# Shards a process keeps open: many systems allow it 1024 files, and a cache may have more shards.
_MAX_OPEN = 128


class LatentCache(OfSources, Sequence[dict[str, Any]]):
    """Random access to the samples of latent shards, read by position.

    Only an index is kept in memory, about 0.1 kB a sample. Samples are ordered by shard name, then
    by place in the shard.

    Args:
        folder: where the latent shards lie.
        pipeline: that writes them, for the errors.

    Attributes:
        settings: what decides about the latents, the samples apart.
        sources: that the shards are of, see `dcr.latents.plan_file`.

    Raises:
        UserError: a shard that was planned is missing, cut short, or made with other settings.
    """

    def __init__(self, folder: str | Path, pipeline: str = "latents") -> None:
        self.folder = Path(folder)
        plan = read_plan(folder, pipeline)
        self._pipeline = pipeline
        self.settings: dict[str, Any] = plan["settings"]
        self.sources = plan["sources"]
        self._source_of = sources_of_shards(self.sources)
        self.shards = [self.folder / f"{name}.tar" for name in sorted(plan["shards"])]
        self._numbers = {shard.stem: number for number, shard in enumerate(self.shards)}
        try:
            self._records = [read_record(shard) for shard in self.shards]
            for shard, record in zip(self.shards, self._records, strict=True):
                if record.key != plan["shards"][shard.stem]:
                    raise UserError(
                        f"{shard} is of an earlier run; go on with `kedro run --pipelines"
                        f" {pipeline}`"
                    )
            self._indexes = [
                read_index(*pair) for pair in zip(self.shards, self._records, strict=True)
            ]
        except DamagedShardError as exc:
            shard = next(shard for shard in self.shards if _damage(shard))
            raise UserError(
                f"{shard}: {exc}; make it again with `kedro run --pipelines {pipeline}`"
            ) from exc
        self._starts = list(accumulate((len(index) for index in self._indexes), initial=0))
        self._files: dict[int, int] = {}

    @property
    def crops_per_image(self) -> int:
        """How many crops are stored of each image."""
        return self._records[0].crop_shape[0]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(  # type: ignore[override]  # no slices, but crops by epoch
        self, place: int | tuple[int, int]
    ) -> dict[str, Any]:
        """Return a sample's ``key``, ``crop`` uint8 (S, S, 3), ``moments`` float32 (2C, h, w).

        Args:
            place: position, or (position, epoch): in epoch e it is crop e mod n of the n that are
                stored.
        """
        position, epoch = place if isinstance(place, tuple) else (place, 0)
        shard, row = self._find(position)
        record = self._records[shard]
        number = epoch % record.crop_shape[0]
        arrays = []
        for name, shape, dtype in (
            ("crop", record.crop_shape[1:], np.dtype(np.uint8)),
            ("moments", record.moments_shape[1:], record.stored_dtype),
        ):
            size = int(np.prod(shape)) * dtype.itemsize
            data = self._read(shard, int(row[name]) + number * size, size)
            arrays.append(np.frombuffer(data, dtype).reshape(shape))
        return {
            "key": self.key(position),
            "crop": arrays[0],
            "moments": from_stored(arrays[1], record.settings["dtype"]),
        }

    def record(self, position: int) -> dict[str, Any]:
        """Return what is told of the sample at ``position``.

        That is caption, image hash, box and flip of each crop, and resize method.
        """
        shard, row = self._find(position)
        record: dict[str, Any] = json.loads(
            self._read(shard, int(row["json"]), int(row["json_size"]))
        )
        return record

    def caption(self, position: int) -> str | None:
        """Return the caption, as validation chose it, of the sample at ``position``, or None."""
        caption: str | None = self.record(position)["caption"]
        return caption

    def place(self, position: int) -> tuple[str, int]:
        """Return the name of the shard with the sample at ``position``, and its place in it."""
        shard, _ = self._find(position)
        return self.shards[shard].stem, position % len(self) - self._starts[shard]

    def key(self, position: int) -> str:
        """Return the key of the sample at ``position``."""
        key: bytes = self._find(position)[1]["key"]
        return key.decode("utf-8", "surrogateescape")

    def source(self, position: int) -> str:
        """Return the name of the source of the sample at ``position``."""
        return self._source_of[self.shards[self._find(position)[0]].stem]

    def shard_keys(self) -> dict[str, str]:
        """Return by a shard's name its key, which stands for all that its bytes depend on."""
        return {
            shard.stem: record.key for shard, record in zip(self.shards, self._records, strict=True)
        }

    def check_bytes(self, shards: Iterable[str] | None = None) -> None:
        """Read shards and compare them with their hashes, once in a process.

        Call it before loader processes start, which then need not check anything.

        Args:
            shards: names of those that will be read; None for all.

        Raises:
            UserError: a byte of a shard is not as it was written.
        """
        wanted = None if shards is None else set(shards)
        pairs = [
            (shard, record)
            for shard, record in zip(self.shards, self._records, strict=True)
            if (wanted is None or shard.stem in wanted) and _state(shard) not in _checked
        ]
        with ThreadPoolExecutor(min(_NUM_READERS, cpu_count())) as pool:
            checked = pool.map(self._check_shard, pairs)
            list(
                show_progress(
                    checked, total=len(pairs), desc=f"check {self._pipeline}", unit="shard"
                )
            )

    def _check_shard(self, pair: tuple[Path, ShardRecord]) -> None:
        shard, record = pair
        state = _state(shard)
        try:
            check_bytes(shard, record)
        except DamagedShardError as exc:
            raise UserError(f"{shard}: {exc}; {_REPAIRS[self._pipeline]}") from exc
        _checked.add(state)

    def positions(self, shard: str) -> range:
        """Return the positions of the samples of ``shard``, given by its name."""
        number = self._numbers[shard]
        return range(self._starts[number], self._starts[number + 1])

    def content_hash(self) -> str:
        """Return the hex sha256 over every sample's key and image hash, in order."""
        digest = hashlib.sha256()
        for index in self._indexes:
            for key, image_hash in zip(
                index["key"].tolist(), index["sha256"].tolist(), strict=True
            ):
                digest.update(b"%s %s\n" % (key, image_hash))
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """Return a hex sha256 over what the samples' crops and moments depend on, in order."""
        return json_hash(["cache", [record.key for record in self._records]])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # open files do not cross to loader workers

    def _find(self, position: int) -> tuple[int, np.void]:
        if not -len(self) <= position < len(self):
            raise IndexError(position)
        position %= len(self)
        shard = bisect.bisect_right(self._starts, position) - 1
        return shard, self._indexes[shard][position - self._starts[shard]]

    def _read(self, shard: int, offset: int, size: int) -> bytes:
        # It is put back at the end, so that the first is the longest unused.
        file = self._files.pop(shard, None)
        if file is None:
            if len(self._files) >= _MAX_OPEN:
                os.close(self._files.pop(next(iter(self._files))))
            file = os.open(self.shards[shard], os.O_RDONLY)
        self._files[shard] = file
        return os.pread(file, size, offset)


def _state(path: Path) -> tuple[str | int, ...]:
    """Return what changes when a file is written."""
    found = path.stat()
    return (str(path.resolve()), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _damage(shard: Path) -> str | None:
    try:
        read_index(shard, read_record(shard))
    except DamagedShardError as exc:
        return str(exc)
    return None
