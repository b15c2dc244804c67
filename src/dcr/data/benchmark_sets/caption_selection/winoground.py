"""Winoground's table as Parquet: columns ``image_0, image_1, caption_0, caption_1`` and tags.

Thrush et al., CVPR 2022, arXiv 2204.03162.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dcr.data.benchmark_sets.caption_selection.groups import CaptionSelectionSet, Group
from dcr.data.benchmark_sets.entries import check_text
from dcr.data.benchmark_sets.files import Folder
from dcr.data.benchmark_sets.parts import Part, Sample
from dcr.data.shards.reading import MAX_IMAGE_BYTES
from dcr.errors import UserError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

IMAGES = ("image_0", "image_1")
CAPTIONS = ("caption_0", "caption_1")
TYPE = "collapsed_tag"
RULES = ("group_score", "text_score", "image_score")
_FOLDERS = ("", "data")
_ROWS_AT_A_TIME = 8


@dataclass(frozen=True)
class ParquetPart(Part):
    """The images of one table, two a row."""

    folder: Folder = field(repr=False)
    name: str

    def _hash(self) -> str:
        return self.folder.sha256(self.name)

    def samples(self) -> Iterator[Sample]:
        for number, row in _rows(self.folder, self.name, IMAGES):
            for column in IMAGES:
                where = f"{self.folder.place(self.name)}, row {number}, {column}"
                yield Sample(f"{number}/{column}", _bytes_of(row[column], where), where)


def is_winoground(folder: Folder) -> bool:
    """Tell whether a local ``folder`` holds tables with such columns."""
    return any(_has_columns(folder, name) for name in _files(folder))


def open_winoground(folder: Folder) -> CaptionSelectionSet:
    """Open the tables that lie in ``folder``; a group is a row, its type ``collapsed_tag``.

    Args:
        folder: a local one; tables lie at its top, or in ``data/``.

    Raises:
        UserError: a table cannot be read.
    """
    names = [name for name in _files(folder) if _has_columns(folder, name)]
    parts = [ParquetPart(folder, name) for name in names]
    return CaptionSelectionSet(
        folder.name,
        str(folder),
        {"test": parts},
        groups=lambda: _groups(folder, names),
        published_rules=RULES,
    )


def _files(folder: Folder) -> list[str]:
    return [file for inner in _FOLDERS for file in folder.files(inner, "parquet")]


def _has_columns(folder: Folder, name: str) -> bool:
    with _open(folder, name) as table:
        return {*IMAGES, *CAPTIONS} <= set(table.schema_arrow.names)


def _groups(folder: Folder, names: Sequence[str]) -> Iterator[Group]:
    place = 0
    for name in names:
        with _open(folder, name) as table:
            tagged = TYPE in table.schema_arrow.names
        columns = (*CAPTIONS, TYPE) if tagged else CAPTIONS
        for number, row in _rows(folder, name, columns):
            where = f"{folder.place(name)}, row {number}"
            captions = tuple(check_text(row[column], column, where) for column in CAPTIONS)
            kind = str(row[TYPE] or "") if tagged else ""
            pairing = ((0, 0), (1, 1))
            yield Group(f"{name}/{number}", (place, place + 1), captions, pairing, kind)
            place += 2


@contextmanager
def _open(folder: Folder, name: str) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with folder.open(name) as file:
        try:
            with pq.ParquetFile(file, buffer_size=1 << 20) as table:
                yield table
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{folder.place(name)} cannot be read as a Parquet table: {str(error)[:200]}"
            ) from error


def _rows(
    folder: Folder, name: str, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows with their numbers, from 0; memory holds a few."""
    number = 0
    with _open(folder, name) as table:
        for batch in table.iter_batches(_ROWS_AT_A_TIME, columns=list(columns)):
            for row in batch.to_pylist():
                yield number, row
                number += 1
    if number == 0:
        raise UserError(f"{folder.place(name)} has no row")


def _bytes_of(value: Any, where: str) -> bytes:
    """Return the encoded image of a cell: its bytes, or a struct that holds them."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes) or len(content) > MAX_IMAGE_BYTES:
        raise UserError(
            f"{where} must hold an encoded image, as bytes or as a struct with bytes, of at most"
            f" {MAX_IMAGE_BYTES >> 20} MiB"
        )
    return content
