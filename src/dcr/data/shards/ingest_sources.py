"""Where ingest's images and captions come from: a folder that holds both, or a table."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from dcr.data.shards.reading import MAX_IMAGE_BYTES, MAX_TEXT_BYTES
from dcr.data.shards.sample import IMAGE_EXTENSIONS, find_captions
from dcr.errors import UserError

_SIDECARS = (".txt", ".caption", ".json")
Told = Counter[str]  # how often something was passed over, in words


@dataclass(frozen=True)
class Source:
    """Where images and captions are.

    Attributes:
        images: the folder; nothing outside it is read, links out of it included.
        table: a .csv, .parquet or .jsonl file with a row for each image, or None: then every image
            of the folder is taken, with the captions of the files of the same name beside it:
            ``.txt`` or ``.caption``, and ``.json``.
        path_column: the table's column of paths, relative to ``images``.
        caption_column: the table's column of captions, texts or lists of texts; None for images
            alone.
    """

    images: str
    table: str | None
    path_column: str
    caption_column: str | None


@dataclass(frozen=True)
class Entry:
    """One image to come.

    Attributes:
        path: as it was named.
        num_bytes: its size.
        captions: all that were found.
        error: what keeps it from being read.
    """

    path: str
    num_bytes: int = 0
    captions: tuple[str, ...] = ()
    error: str | None = None


def iterate_entries(source: Source, told: Told) -> Iterator[Entry]:
    """Yield the images in order, and count in ``told`` what is passed over.

    Args:
        source: where images and captions are; each image is looked at, none is read.
        told: is counted up, in place.

    Raises:
        UserError: folder or table are missing or cannot be read, or the table lacks a column.
    """
    root = Path(source.images)
    if not root.is_dir():
        raise UserError(f"ingest.images: there is no folder {root}")
    inside = root.resolve()
    if source.table is None:
        for image in _walk(root, told):
            yield replace(
                _look_at(root, inside, image.as_posix()),
                captions=_sidecars(root / image, inside, told),
            )
        return
    for path, value, error in _rows(Path(source.table), source.path_column, source.caption_column):
        captions, no_text = find_captions(None, {"caption": value})
        told["captions that are no text"] += no_text
        yield replace(
            _look_at(root, inside, path) if error is None else Entry(path, error=error),
            captions=captions,
        )


def _walk(root: Path, told: Told) -> Iterator[Path]:
    """Yield the images below a folder; links to folders are not followed."""
    for folder, folders, files in os.walk(root, onerror=_refuse):
        for name in list(folders):
            kind = "hidden folders" if name.startswith(".") else "linked folders"
            if name.startswith(".") or os.path.islink(os.path.join(folder, name)):
                told[kind] += 1
                folders.remove(name)
        folders.sort()
        images = [
            name
            for name in sorted(files)
            if _extension(name) in IMAGE_EXTENSIONS and not name.startswith(".")
        ]
        stems = {PurePosixPath(name).stem for name in images}
        for name in set(files).difference(images):
            if name.startswith("."):
                told["hidden files"] += 1
            elif PurePosixPath(name).suffix.lower() not in _SIDECARS:
                told["other files"] += 1
            elif PurePosixPath(name).stem not in stems:
                told["captions without an image"] += 1
        yield from ((Path(folder) / name).relative_to(root) for name in images)


def _extension(name: str) -> str:
    return PurePosixPath(name).suffix[1:].lower()


def _refuse(exc: OSError) -> None:
    raise UserError(f"ingest.images: {exc.filename} cannot be listed: {exc.strerror}") from exc


def _look_at(root: Path, inside: Path, path: str) -> Entry:
    try:
        place = (root / path).resolve()
        if not place.is_relative_to(inside):
            return Entry(path, error="it lies outside the folder of images")
        if not place.is_file():
            return Entry(path, error="there is no such file")
        size = place.stat().st_size
    except (OSError, ValueError) as exc:
        return Entry(path, error=f"it cannot be read: {exc}")
    if size > MAX_IMAGE_BYTES:
        return Entry(path, error=f"{size} bytes are more than any image should have")
    return Entry(path, size)


def _sidecars(image: Path, inside: Path, told: Told) -> tuple[str, ...]:
    """Return the captions beside an image, read as those of a shard's members."""
    found = {suffix: _read_text(image.with_suffix(suffix), inside) for suffix in _SIDECARS}
    text = next((found[suffix] for suffix in _SIDECARS[:2] if found[suffix] is not None), None)
    try:
        metadata = json.loads(found[".json"] or "{}")
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        told["json files that are no object"] += 1
        metadata = {}
    captions, no_text = find_captions(text, metadata)
    told["captions that are no text"] += no_text
    return captions


def _read_text(path: Path, inside: Path) -> str | None:
    if not path.is_file() or not path.resolve().is_relative_to(inside):
        return None
    # Bytes that are not UTF-8 go through as they are: validation names them.
    with open(path, "rb") as file:
        return file.read(MAX_TEXT_BYTES).decode("utf-8-sig", "surrogateescape").rstrip("\r\n")


def _rows(
    table: Path, path_column: str, caption_column: str | None
) -> Iterator[tuple[str, Any, str | None]]:
    """Yield (path, caption, error) of each row of the table."""
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_jsonl}
    if table.suffix.lower() not in readers:
        raise UserError(f"ingest.table: {table} must be a {', '.join(readers)} file")
    columns = [path_column, *([caption_column] if caption_column else [])]
    try:
        for number, row in enumerate(readers[table.suffix.lower()](table, columns), 1):
            path = row.get(path_column)
            caption = row.get(caption_column or "")
            if isinstance(path, str) and path:
                yield path, caption, None
            else:
                yield "", caption, f"row {number} of the table names no path"
    except (OSError, ValueError, csv.Error) as exc:
        if isinstance(exc, UserError):
            raise
        raise UserError(f"ingest.table: {table} cannot be read: {exc}") from exc


def _read_csv(table: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    with open(table, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        _check_columns(table, columns, list(reader.fieldnames or []))
        yield from reader


def _read_parquet(table: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(table) as file:
        _check_columns(table, columns, file.schema_arrow.names)
        for batch in file.iter_batches(columns=columns):
            yield from batch.to_pylist()


def _read_jsonl(table: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    with open(table, encoding="utf-8-sig", errors="surrogateescape") as file:
        for line in file:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if line.strip():  # a row that cannot be read is a sample that is missing
                yield row if isinstance(row, dict) else {}


def _check_columns(table: Path, columns: list[str], there: list[str]) -> None:
    if missing := [column for column in columns if column not in there]:
        raise UserError(
            f"ingest.table: {table} has no column {missing[0]!r}; it has"
            f" {', '.join(map(repr, there))}"
        )
