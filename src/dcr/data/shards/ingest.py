"""Pack a folder of captioned images into img2dataset's shards: equal files give equal bytes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from dcr.data.shards.ingest_sources import Entry, Source, Told, iterate_entries
from dcr.data.shards.sample import IMAGE_EXTENSIONS, Sample
from dcr.data.shards.writing import write_shard
from dcr.errors import UserError

logger = logging.getLogger(__name__)

RECORD = "ingest.json"  # beside the shards: what they were made from


@dataclass
class _Tally:
    """What became of the images while they are packed.

    ``first`` is the path and the reason of the first failure.
    """

    packed: int = 0
    failed: int = 0
    without_caption: int = 0
    first: str = ""
    told: Told = field(default_factory=Told)

    def note(self, entry: Entry, error: str | None) -> None:
        """Count ``entry``; ``error`` says why it was not packed, None that it was."""
        self.packed += error is None
        self.failed += error is not None
        self.without_caption += not entry.captions
        if error is not None and not self.first:
            self.first = f"{entry.path or 'a row of the table'}: {error}"


def write_ingested(
    folder: Path, source: Source, max_shard_bytes: int, max_failed_share: float
) -> None:
    """Write ``folder/00000.tar``, ``.parquet``, ``_stats.json`` and so on, and `RECORD`.

    Samples stand in the table's order, or in that of the sorted folders. Shards are cut where the
    sum of image bytes reaches equal shares, so that their sizes differ by less than two images. An
    image that cannot be read, or is of a format that validation does not decode, becomes a sample
    without one whose json says why: validation counts it. Memory holds one sample and its shard's
    records.

    Args:
        folder: where the files go; made where it is missing.
        source: images and captions; it is read twice, first for the sizes.
        max_shard_bytes: of images, about which a shard may hold; the number of shards follows from
            it.
        max_failed_share: of the images, that may fail.

    Raises:
        UserError: folder or table are missing, the table lacks a column, there is no image, none
            could be read, or too many could not.
    """
    from dcr.progress import show_progress

    told = Told()
    sizes = [entry.num_bytes for entry in iterate_entries(source, told)]
    if not sizes:
        where = f"{source.table or source.images}{_describe(told, ', passed over: ')}"
        raise UserError(f"ingest: no image in {where}; name a folder or table that has some")
    num_shards = max(1, -(-sum(sizes) // max_shard_bytes))
    tally = _Tally()
    numbers = iter(list(_share_out(sizes, num_shards)))
    entries = show_progress(
        iterate_entries(source, tally.told), total=len(sizes), desc="ingest", unit="image"
    )
    groups = groupby(entries, key=lambda _: next(numbers))
    names = [
        _write_group(folder, number, group, source, tally)
        for number, (_, group) in enumerate(groups)
    ]
    _check(tally, source, max_failed_share)
    record = asdict(source) | {
        "num_samples": len(sizes),
        "num_failed": tally.failed,
        "num_bytes": sum(sizes),
        "shards": names,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    _log(tally, len(names))


def _check(tally: _Tally, source: Source, max_failed_share: float) -> None:
    total = tally.packed + tally.failed
    if not tally.packed:
        raise UserError(
            f"ingest: none of the {total} images of {source.images} could be read; the first is"
            f" {tally.first}"
        )
    if tally.failed > max_failed_share * total:
        raise UserError(
            f"ingest: {tally.failed} of the {total} images could not be read, more than"
            f" ingest.max_failed_share {max_failed_share} allows; the first is {tally.first}"
        )


def _log(tally: _Tally, num_shards: int) -> None:
    logger.info(
        "ingest: %d images in %d shards; failed %d, without caption %d%s",
        tally.packed,
        num_shards,
        tally.failed,
        tally.without_caption,
        _describe(tally.told, "; passed over: "),
    )
    if tally.failed:
        logger.warning(
            "ingest: %d images could not be read; the first is %s", tally.failed, tally.first
        )


def _describe(told: Told, head: str) -> str:
    words = ", ".join(f"{what} {count}" for what, count in sorted(told.items()) if count)
    return f"{head}{words}" if words else ""


def _write_group(
    folder: Path, number: int, entries: Iterable[Entry], source: Source, tally: _Tally
) -> str:
    samples = (
        _read(entry, f"{number:05d}{index:06d}", source, tally)
        for index, entry in enumerate(entries)
    )
    return write_shard(folder, f"{number:05d}", samples).name


def _share_out(sizes: list[int], num_shards: int) -> Iterator[int]:
    """Yield each image's shard: the one in whose equal share of all bytes its middle byte lies."""
    total = max(1, sum(sizes))
    before = 0
    for size in sizes:
        yield min(num_shards - 1, (2 * before + size) * num_shards // (2 * total))
        before += size


def _read(entry: Entry, key: str, source: Source, tally: _Tally) -> Sample:
    image, error = _read_image(entry, source)
    tally.note(entry, error)
    extension = PurePosixPath(entry.path).suffix[1:].lower()
    metadata: dict[str, Any] = {"url": entry.path.encode("utf-8", "backslashreplace").decode()}
    if len(entry.captions) > 1:
        metadata["captions"] = [
            caption.encode("utf-8", "replace").decode() for caption in entry.captions
        ]
    if error is not None:
        metadata |= {"status": "failed_to_read", "error_message": error}
    caption = entry.captions[0] if entry.captions else None
    return Sample(
        key, image, extension if extension in IMAGE_EXTENSIONS else "jpg", caption, metadata
    )


def _read_image(entry: Entry, source: Source) -> tuple[bytes | None, str | None]:
    """Return an image's bytes, or why they are not packed."""
    from dcr.data.decoding import read_size
    from dcr.data.developing import DecodingError

    if entry.error is not None:
        return None, entry.error
    try:
        image = (Path(source.images) / entry.path).read_bytes()
        read_size(image)
    except OSError as exc:
        return None, f"it cannot be read: {exc.strerror}"
    except DecodingError as exc:
        return None, f"{exc.reason}: {exc}"
    return image, None
