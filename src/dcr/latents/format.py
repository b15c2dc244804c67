"""The file format: a plain tar, as WebDataset reads it, that knows its key, hash and index.

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
import json
import os
import tarfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
    """What a latent shard says of itself; both shapes are of one sample's n crops."""

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
    def stored_dtype(self) -> np.dtype[Any]:
        """NumPy's dtype of the stored moments."""
        return STORED_DTYPES[self.settings["dtype"]]

    @property
    def sample_bytes(self) -> tuple[int, int]:
        """Bytes of one sample's crops and of its moments."""
        moments = int(np.prod(self.moments_shape)) * self.stored_dtype.itemsize
        return int(np.prod(self.crop_shape)), moments

    def hash(self, body: hashlib._Hash) -> str:
        """Return the hex sha256 over this record and the bytes that ``body`` has hashed."""
        digest = body.copy()
        digest.update(replace(self, sha256="").to_bytes())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """Return the member as it lies in the tar, header and padding included."""
        content = json.dumps(asdict(self), sort_keys=True).encode()
        return tar_member(RECORD_NAME, content.ljust(RECORD_SIZE))


def index_dtype(key_bytes: int) -> np.dtype[Any]:
    """Return an index row's dtype: key in UTF-8, image hash, offsets of crops, moments and JSON.

    Args:
        key_bytes: length of the longest key.
    """
    offsets = [(name, "<i8") for name in ("crop", "moments", "json", "json_size")]
    return np.dtype([("key", f"S{key_bytes}"), ("sha256", "S64"), *offsets])


def tar_member(name: str, content: bytes) -> bytes:
    """Return a tar member with its header, in whole blocks; equal arguments give equal bytes.

    Args:
        name: of the member.
        content: its bytes.
    """
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o444
    header = info.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
    return header + content.ljust(padded(len(content)), b"\0")


def padded(size: int) -> int:
    """Return the bytes that a content of ``size`` takes: whole blocks."""
    return -size // BLOCK * -BLOCK


def read_record(path: Path) -> ShardRecord:
    """Return what the latent shard at ``path`` says of itself, if it is as long as it says.

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
    """Say whether the numbers are whole and not negative, and the index within the file."""
    numbers = (record.num_samples, record.index_offset, record.key_bytes, record.size)
    shapes = (*record.crop_shape, *record.moments_shape)
    if any(type(n) is not int or n < 0 for n in (*numbers, *shapes)):
        return False
    end = record.index_offset + record.num_samples * index_dtype(record.key_bytes).itemsize
    return end <= record.size and record.settings["dtype"] in STORED_DTYPES


def check_bytes(path: Path, record: ShardRecord) -> None:
    """Compare the shard at ``path`` with the hash in its ``record``; other threads go on meanwhile.

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
    """Return the index of the shard at ``path``, one row a sample (`index_dtype`).

    Args:
        path: of the shard.
        record: its own, which locates the index.

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
    lengths = (*record.sample_bytes, index["json_size"])
    for name, length in zip(("crop", "moments", "json"), lengths, strict=True):
        if ((index[name] < BODY) | (index[name] + length > record.size)).any():
            raise DamagedShardError("its index points out of the file")
    return index
