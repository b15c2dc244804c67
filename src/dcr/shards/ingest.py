"""A folder of images with captions into shards of img2dataset's shape: equal files give equal bytes."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from dcr.errors import UserError
from dcr.shards.reading import MAX_IMAGE_BYTES, MAX_TEXT_BYTES
from dcr.shards.sample import IMAGE_EXTENSIONS, Sample
from dcr.shards.writing import write_shard

RECORD = "ingest.json"  # beside the shards: what they were made from


@dataclass(frozen=True)
class Source:
    """Where images and captions are.

    Attributes:
        images: the folder; nothing outside it is read, links out of it included.
        table: a .csv, .parquet or .jsonl file with a row for each image, or None: then every image of the folder is
            taken, with the ``.txt`` of the same name beside it as caption.
        path_column: the table's column of paths, relative to ``images``.
        caption_column: the table's column of captions, None for images alone.
    """

    images: str
    table: str | None
    path_column: str
    caption_column: str | None


@dataclass(frozen=True)
class _Entry:
    """One image to come: its path as it was named, its size, and what keeps it from being read."""

    path: str
    num_bytes: int = 0
    caption: str | None = None
    error: str | None = None


def write_ingested(folder: Path, source: Source, max_shard_bytes: int) -> None:
    """Write ``folder/00000.tar``, ``.parquet``, ``_stats.json`` and so on, and `RECORD`.

    Samples stand in the table's order, or in that of the sorted folders. Shards are cut where the sum of image bytes
    reaches equal shares, so that their sizes differ by less than two images. An image that cannot be read becomes a
    sample without one whose json says why: validation counts it. Memory holds one sample and its shard's records.

    Raises:
        UserError: folder or table are missing, the table lacks a column, or there is no image.
    """
    from dcr.progress import show_progress

    sizes = [entry.num_bytes for entry in _entries(source)]
    if not sizes:
        raise UserError(f"ingest: no image in {source.table or source.images}: name a folder or table that has some")
    num_shards = max(1, -(-sum(sizes) // max_shard_bytes))
    numbers = iter(list(_share_out(sizes, num_shards)))
    entries = show_progress(_entries(source), total=len(sizes), desc="ingest", unit="image")
    groups = groupby(entries, key=lambda _: next(numbers))
    names = [_write_group(folder, number, group, source) for number, (_, group) in enumerate(groups)]
    record = asdict(source) | {"num_samples": len(sizes), "num_bytes": sum(sizes), "shards": names}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _write_group(folder: Path, number: int, entries: Iterable[_Entry], source: Source) -> str:
    samples = (_read(entry, f"{number:05d}{index:06d}", source) for index, entry in enumerate(entries))
    return write_shard(folder, f"{number:05d}", samples).name


def _share_out(sizes: list[int], num_shards: int) -> Iterator[int]:
    """Yield each image's shard: the one in whose equal share of all bytes its middle byte lies."""
    total, before = max(1, sum(sizes)), 0
    for size in sizes:
        yield min(num_shards - 1, (2 * before + size) * num_shards // (2 * total))
        before += size


def _read(entry: _Entry, key: str, source: Source) -> Sample:
    image, error = None, entry.error
    if error is None:
        try:
            image = (Path(source.images) / entry.path).read_bytes()
        except OSError as exc:
            error = f"it cannot be read: {exc.strerror}"
    extension = PurePosixPath(entry.path).suffix[1:].lower()
    metadata: dict[str, Any] = {"url": _writable(entry.path)}
    if error is not None:
        metadata |= {"status": "failed_to_read", "error_message": error}
    return Sample(key, image, extension if extension in IMAGE_EXTENSIONS else "jpg", entry.caption, metadata)


def _entries(source: Source) -> Iterator[_Entry]:
    root = Path(source.images)
    if not root.is_dir():
        raise UserError(f"ingest.images: there is no folder {root}")
    inside = root.resolve()
    if source.table is None:
        for path in _walk(root):
            caption = _sidecar(root / path, inside)
            yield replace(_look_at(root, inside, path.as_posix()), caption=caption)
        return
    for path, caption, error in _rows(source):
        yield replace(_look_at(root, inside, path) if error is None else _Entry(path, error=error), caption=caption)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root, onerror=_refuse):
        folders.sort()
        for name in sorted(files):
            if PurePosixPath(name).suffix[1:].lower() in IMAGE_EXTENSIONS and not name.startswith("."):
                yield (Path(folder) / name).relative_to(root)


def _refuse(exc: OSError) -> None:
    raise UserError(f"ingest.images: {exc.filename} cannot be listed: {exc.strerror}") from exc


def _look_at(root: Path, inside: Path, path: str) -> _Entry:
    try:
        place = (root / path).resolve()
        if not place.is_relative_to(inside):
            return _Entry(path, error="it lies outside the folder of images")
        if not place.is_file():
            return _Entry(path, error="there is no such file")
        size = place.stat().st_size
    except (OSError, ValueError) as exc:
        return _Entry(path, error=f"it cannot be read: {exc}")
    if size > MAX_IMAGE_BYTES:
        return _Entry(path, error=f"{size} bytes are more than any image should have")
    return _Entry(path, size)


def _sidecar(image: Path, inside: Path) -> str | None:
    path = image.with_suffix(".txt")
    if not path.is_file() or not path.resolve().is_relative_to(inside):
        return None
    with open(path, "rb") as file:  # bytes that are not UTF-8 go through as they are: validation names them
        return file.read(MAX_TEXT_BYTES).decode("utf-8-sig", "surrogateescape").rstrip("\r\n")


def _rows(source: Source) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield (path, caption, error) of each row of the table."""
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_jsonl}
    table = Path(source.table)
    if table.suffix.lower() not in readers:
        raise UserError(f"ingest.table: {table} must be a {', '.join(readers)} file")
    columns = [source.path_column, *([source.caption_column] if source.caption_column else [])]
    try:
        for number, row in enumerate(readers[table.suffix.lower()](table, columns), 1):
            path, caption = row.get(source.path_column), row.get(source.caption_column or "")
            error = None if isinstance(path, str) and path else f"row {number} of the table names no path"
            yield path if error is None else "", None if caption is None else str(caption), error
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
            if line.strip():
                yield row if isinstance(row, dict) else {}  # a row that cannot be read is a sample that is missing


def _check_columns(table: Path, columns: list[str], there: list[str]) -> None:
    if missing := [column for column in columns if column not in there]:
        raise UserError(f"ingest.table: {table} has no column {missing[0]!r}; it has {', '.join(map(repr, there))}")


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
