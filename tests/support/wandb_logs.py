"""What W&B keeps of a run on this machine, record by record."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def wandb_records(file: Path) -> Iterator[Any]:
    """Yield the records of a run's log, as W&B's own messages."""
    from wandb.proto import wandb_internal_pb2

    for data in _leveldb_records(file.read_bytes()):
        yield wandb_internal_pb2.Record.FromString(data)


def _leveldb_records(data: bytes, place: int = 7, block: int = 2**15) -> Iterator[bytes]:
    """Yield the records of a log in LevelDB's format after its header: blocks, and pieces of
    records in them.
    """
    record = b""
    while place < len(data):
        if block - place % block < 7:  # too little for the head of a piece: padding
            place += block - place % block
        _, size, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""
