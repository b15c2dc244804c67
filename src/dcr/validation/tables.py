"""Rows of samples on disk, a Parquet file a shard; memory never holds more than one shard's."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dcr.errors import UserError
from dcr.files import atomic_path
from dcr.replacing import remove_leftovers

if TYPE_CHECKING:
    import pandas as pd

_RECORD = b"dcr.shard"  # key of the shard's own record in the Parquet file's metadata


@dataclass(frozen=True)
class ShardTable:
    """The table of one shard.

    Attributes:
        rows: in the tar's order.
        record: what is known of the shard as a whole, at least ``shard``, its name, and
            ``num_samples``.
    """

    rows: pa.Table
    record: dict[str, Any]


class Known(dict[str, str | None]):
    """The fingerprints of the tables that lie in a folder, by shard.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def read(self, shard: str) -> ShardTable:
        """Return the table of ``shard``, one of these, as it lies there."""
        return _read_table(_path(self._folder, shard))


@dataclass(frozen=True)
class TablePlan:
    """The tables that shall lie in a folder, and how those are made that are not there yet.

    Attributes:
        names: of the shards, all of them.
        make: given the tables that are there, yields those that are missing or no longer true, in
            any order.
    """

    names: list[str]
    make: Callable[[Known], Iterator[ShardTable]]


def write_tables(folder: Path, plan: TablePlan) -> None:
    """Bring a folder in line with a plan: what still holds stays, what is not named goes.

    Each table is written whole or not at all, so after a kill the next call makes only what is
    missing.

    Args:
        folder: where they lie, one Parquet file a shard; leftovers of a killed run are removed.
        plan: all the tables that shall lie there.
    """
    names = set(plan.names)
    known = Known(folder)
    remove_leftovers(folder)
    for path in folder.glob("*.parquet"):
        record = _read_record(path)
        if record is None or record["shard"] not in names or path.stem != record["shard"]:
            path.unlink()
        else:
            known[record["shard"]] = record.get("fingerprint")
    for table in plan.make(known):
        rows = table.rows.replace_schema_metadata({_RECORD: json.dumps(table.record)})
        with atomic_path(_path(folder, table.record["shard"])) as temporary:
            pq.write_table(rows, temporary)


def _path(folder: Path, shard: str) -> Path:
    return folder / f"{shard}.parquet"


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        return _record_of(path)
    except (OSError, ValueError, KeyError, TypeError):  # not ours, or not whole
        return None


def _record_of(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(pq.read_schema(path).metadata[_RECORD])
    return record


def _read_table(path: Path, columns: list[str] | None = None) -> ShardTable:
    with pq.ParquetFile(path) as file:
        rows = file.read(columns)
    return ShardTable(rows.replace_schema_metadata(None), _record_of(path))


class SampleTables:
    """The tables of a folder in order of shard name, read one shard at a time.

    A sample's *position* is its place in that order, from 0.

    Args:
        folder: holds a Parquet file for each shard, as `write_tables` leaves it.

    Raises:
        FileNotFoundError: there are none.
    """

    def __init__(self, folder: str | Path) -> None:
        self._paths = sorted(Path(folder).glob("*.parquet"), key=lambda path: path.stem)
        if not self._paths:
            raise FileNotFoundError(f"no sample tables in {folder}")

    def records(self) -> list[dict[str, Any]]:
        """Return the shards' records."""
        return [_record_of(path) for path in self._paths]

    def require(self, shards: Container[str]) -> None:
        """Raise UserError if there is a table of none of the ``shards``, names of the recipe's."""
        names = (record["shard"] for record in self.records())
        if (absent := next((name for name in names if name not in shards), None)) is not None:
            raise UserError(
                f"samples were measured of a shard {absent!r}, which the recipe no longer has: run"
                " `kedro run --pipelines validation`"
            )

    def columns(self) -> list[str]:
        """Return the names of the columns, which all tables share."""
        return list(pq.read_schema(self._paths[0]).names)

    def num_samples(self) -> int:
        """Return how many rows there are in all."""
        return sum(record["num_samples"] for record in self.records())

    def tables(
        self, columns: list[str] | None = None, source: str | None = None
    ) -> Iterator[ShardTable]:
        """Yield each shard's rows, all ``columns`` or those named, with its record.

        Where a ``source`` is given, those of its shards alone.
        """
        for path in self._paths:
            if source is None or _record_of(path)["source"] == source:
                yield _read_table(path, columns)

    def numbers(self, column: str) -> np.ndarray:
        """Return the values of the numeric ``column`` that are not null, float32 (N,)."""
        parts = [table.rows[column].drop_null().to_numpy() for table in self.tables([column])]
        return np.concatenate(parts).astype(np.float32)

    def frame(self, columns: list[str] | None = None, source: str | None = None) -> pd.DataFrame:
        """Return all rows, or a ``source``'s, of those ``columns`` that fit in memory or of all."""
        return to_frame(pa.concat_tables(table.rows for table in self.tables(columns, source)))

    def at(self, positions: np.ndarray) -> pd.DataFrame:
        """Return the rows at ``positions``, in ascending order, each once."""
        positions = np.unique(positions)
        start = 0
        parts = []
        for table in self.tables():
            stop = start + len(table.rows)
            parts.append(
                table.rows.take(positions[(positions >= start) & (positions < stop)] - start)
            )
            start = stop
        return to_frame(pa.concat_tables(parts))


def to_frame(rows: pa.Table) -> pd.DataFrame:
    """Return ``rows`` as pandas, whole numbers as such also where some are missing."""
    import pandas as pd

    types = {
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    return rows.to_pandas(types_mapper=types.get)
