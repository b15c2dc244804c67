"""Samples appended to a latent shard, whose format is `dcr.latents.format`."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from dcr.latents.format import BLOCK, BODY, INDEX_NAME, ShardRecord, index_dtype, padded, tar_member


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
        self._rows: list[tuple[bytes | int, ...]] = []
        self._longest_key = 1
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
            key: str = record["key"]
            content = {name: record[name] for name in ("caption", "sha256", "crops")}
            content["resize"] = self._settings["resize"]
            text = json.dumps(content, sort_keys=True).encode()
            json_place = self._write(f"{key}.json", text)
            crop_place = self._write_array(f"{key}.crop.npy", crop)
            moments_place = self._write_array(f"{key}.moments.npy", moment)
            name = key.encode("utf-8", "surrogateescape")
            places = (crop_place, moments_place, json_place, len(text))
            self._rows.append((name, record["sha256"].encode(), *places))
            self._longest_key = max(self._longest_key, len(name))

    def finish(self, num_upcast: int) -> None:
        """Write index and record.

        Args:
            num_upcast: crops that were encoded again in float32.
        """
        key_bytes = self._longest_key
        rows = np.array(self._rows, dtype=index_dtype(key_bytes))
        index = self._write_array(INDEX_NAME, rows)
        self._append(bytes(2 * BLOCK))  # tar's end-of-archive mark
        crop_shape, moments_shape = self._shapes
        record = ShardRecord(
            key=self._key,
            settings=self._settings,
            num_samples=len(self._rows),
            num_upcast=num_upcast,
            crop_shape=crop_shape,
            moments_shape=moments_shape,
            index_offset=index,
            key_bytes=key_bytes,
            size=self._offset,
            sha256="",
        )
        self._file.seek(0)
        self._file.write(replace(record, sha256=record.hash(self._digest)).to_bytes())

    def _write_array(self, name: str, array: np.ndarray) -> int:
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
        content = buffer.getvalue()
        return self._write(name, content) + len(content) - array.nbytes

    def _write(self, name: str, content: bytes) -> int:
        """Append a member and return where its content begins."""
        member = tar_member(name, content)
        begin = self._offset + len(member) - padded(len(content))
        self._append(member)
        return begin

    def _append(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._offset += len(data)
