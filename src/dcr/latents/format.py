"""The file format: one plain tar that WebDataset reads too, and that knows its key, its hash and
its index.

Members, in this order:

- ``__shard__/record.json``, of fixed size: key, settings, shapes, place of the index, size of the
  file, and the sha256 over all bytes behind this member and over the record itself. It is filled in
  last, before the file gets its name.
- per sample ``<key>.json`` (caption, image hash, per crop box and flip, resize method),
  ``<key>.crop.npy`` (uint8, (n, S, S, 3)) and ``<key>.moments.npy`` (mean and log-variance, (n, 2C,
  h, w), unscaled; bfloat16 as its bits in uint16).
- ``__shard__/index.npy``: where each sample's arrays begin, so that opening reads no tar headers.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dcr.latents.encoding import STORED_DTYPES

RECORD_NAME = "__shard__/record.json"
INDEX_NAME = "__shard__/index.npy"
BLOCK = tarfile.BLOCKSIZE
RECORD_SIZE = 4096
BODY = BLOCK + RECORD_SIZE  # where the hashed part begins
_CHUNK = 1 << 22


class DamagedShardError(ValueError):
    """A file that is no whole latent shard, and why, in words."""


@dataclass(frozen=True)
class ShardRecord:
    """What a latent shard says of itself; ``crop_shape`` and ``moments_shape`` are of one
    sample's n crops.
    """

    key: str
    settings: dict[str, Any]
    num_samples: int
    num_upcast: int
    crop_shape: tuple[int, ...]
    moments_shape: tuple[int, ...]
    index_offset: int
    key_bytes: int
    size: int
    sha256: str

    @property
    def stored_dtype(self) -> np.dtype:
        """NumPy's dtype of the stored moments."""
        return STORED_DTYPES[self.settings["dtype"]]

    @property
    def sample_bytes(self) -> tuple[int, int]:
        """Bytes of one sample's crops and of its moments."""
        return int(np.prod(self.crop_shape)), int(
            np.prod(self.moments_shape)
        ) * self.stored_dtype.itemsize

    def hash(self, body: hashlib._Hash) -> str:
        """Return the hex sha256 over the body's bytes, hashed already, and over the rest of
        this record.
        """
        digest = body.copy()
        digest.update(replace(self, sha256="").to_bytes())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """Return the member as it lies in the tar, header and padding included."""
        return tar_member(
            RECORD_NAME, json.dumps(asdict(self), sort_keys=True).encode().ljust(RECORD_SIZE)
        )


def index_dtype(key_bytes: int) -> np.dtype:
    """Return the dtype of an index row: key in UTF-8, image hash, offsets of crops, moments and
    JSON in the file.

    Args:
        key_bytes: length of the longest key.
    """
    offsets = [(name, "<i8") for name in ("crop", "moments", "json", "json_size")]
    return np.dtype([("key", f"S{key_bytes}"), ("sha256", "S64"), *offsets])


def tar_member(name: str, content: bytes) -> bytes:
    """Return a tar member with its header, padded to whole blocks; equal ``name`` and
    ``content`` give equal bytes.
    """
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o444
    header = info.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
    return header + content.ljust(_padded(len(content)), b"\0")


def _padded(size: int) -> int:
    return -size // BLOCK * -BLOCK


class ShardWriter:
    """Appends samples to a file and fills in its record at the end.

    Args:
        file: new and open for writing; it can seek.
        key: of the shard, see `dcr.latents.keys.shard_key`.
        settings: what decides about the bytes, the samples apart.
    """

    def __init__(self, file: BinaryIO, key: str, settings: dict[str, Any]) -> None:
        self._file = file
        self._key = key
        self._settings = settings
        self._rows: list[tuple] = []
        self._shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
        self._digest = hashlib.sha256()
        self._offset = BODY
        file.write(bytes(BODY))

    def add(
        self, records: Sequence[dict[str, Any]], crops: np.ndarray, moments: np.ndarray
    ) -> None:
        """Append samples.

        Args:
            records: per sample ``key``, ``caption``, ``sha256`` and ``crops`` (box and flip of
                each).
            crops: uint8 (B, n, S, S, 3).
            moments: in the stored dtype, (B, n, 2C, h, w).
        """
        self._shapes = crops.shape[1:], moments.shape[1:]
        for record, crop, moment in zip(records, crops, moments, strict=True):
            key = record["key"]
            content = {name: record[name] for name in ("caption", "sha256", "crops")}
            text = json.dumps(
                {**content, "resize": self._settings["resize"]}, sort_keys=True
            ).encode()
            places = self._write(f"{key}.json", text), self._write_array(f"{key}.crop.npy", crop)
            row = places[1], self._write_array(f"{key}.moments.npy", moment), places[0], len(text)
            self._rows.append(
                (key.encode("utf-8", "surrogateescape"), record["sha256"].encode(), *row)
            )

    def finish(self, num_upcast: int) -> None:
        """Write index and record.

        Args:
            num_upcast: crops that were encoded again in float32.
        """
        key_bytes = max((len(row[0]) for row in self._rows), default=1)
        index = self._write_array(INDEX_NAME, np.array(self._rows, dtype=index_dtype(key_bytes)))
        self._append(bytes(2 * BLOCK))  # tar's end-of-archive mark
        record = ShardRecord(
            self._key,
            self._settings,
            len(self._rows),
            num_upcast,
            *self._shapes,
            index,
            key_bytes,
            self._offset,
            "",
        )
        self._file.seek(0)
        self._file.write(replace(record, sha256=record.hash(self._digest)).to_bytes())

    def _write_array(self, name: str, array: np.ndarray) -> int:
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
        return (
            self._write(name, buffer.getbuffer().tobytes())
            + buffer.getbuffer().nbytes
            - array.nbytes
        )

    def _write(self, name: str, content: bytes) -> int:
        """Append a member and return where its content begins."""
        member = tar_member(name, content)
        begin = self._offset + len(member) - _padded(len(content))
        self._append(member)
        return begin

    def _append(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._offset += len(data)


def read_record(path: Path) -> ShardRecord:
    """Return what the latent shard at ``path`` says of itself, after checking that the file is as
    long as it should be.

    Raises:
        DamagedShardError: the file is missing, cut short, or no latent shard.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(BODY)
            size = os.fstat(file.fileno()).st_size
    except OSError as exc:
        raise DamagedShardError(
            "it is missing" if isinstance(exc, FileNotFoundError) else str(exc)
        ) from exc
    try:
        values = json.loads(head[BLOCK:])
        values |= {name: tuple(values[name]) for name in ("crop_shape", "moments_shape")}
        record = ShardRecord(**values)
        whole = head == record.to_bytes() and _is_plausible(record)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise DamagedShardError("its record is damaged") from exc
    if not whole:
        raise DamagedShardError("its record is damaged")
    if size != record.size:
        raise DamagedShardError(f"it has {size} bytes instead of {record.size}")
    return record


def _is_plausible(record: ShardRecord) -> bool:
    """Say whether the numbers can be worked with: whole, not negative, and the index within the
    file.
    """
    numbers = (record.num_samples, record.index_offset, record.key_bytes, record.size)
    if any(
        type(n) is not int or n < 0 for n in (*numbers, *record.crop_shape, *record.moments_shape)
    ):
        return False
    end = record.index_offset + record.num_samples * index_dtype(record.key_bytes).itemsize
    return end <= record.size and record.settings["dtype"] in STORED_DTYPES


def check_bytes(path: Path, record: ShardRecord) -> None:
    """Read all of the shard at ``path`` and compare it with the hash in its ``record``; other
    threads go on meanwhile.

    Raises:
        DamagedShardError: a byte is not as it was written.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(BODY)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if record.hash(digest) != record.sha256:
        raise DamagedShardError("its bytes are not those that were written: the sha256 differs")


def read_index(path: Path, record: ShardRecord) -> np.ndarray:
    """Return the index of the shard at ``path``, which its ``record`` locates, one row a sample
    (`index_dtype`).

    Raises:
        DamagedShardError: the index points out of the file.
    """
    dtype = index_dtype(record.key_bytes)
    with open(path, "rb") as file:
        file.seek(record.index_offset)
        data = file.read(record.num_samples * dtype.itemsize)
    if len(data) != record.num_samples * dtype.itemsize:
        raise DamagedShardError("its index is cut short")
    index = np.frombuffer(data, dtype)
    for name, length in zip(
        ("crop", "moments", "json"), (*record.sample_bytes, index["json_size"]), strict=True
    ):
        if ((index[name] < BODY) | (index[name] + length > record.size)).any():
            raise DamagedShardError("its index points out of the file")
    return index
