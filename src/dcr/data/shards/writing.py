"""Samples into tars: the same samples give the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dcr.data.shards.sample import Sample
from dcr.files import atomic_path


def write_tar(path: str | Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Write (name, content) ``members`` to the tar ``path``, whole or not at all.

    Equal members give equal bytes.
    """
    with (
        atomic_path(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o444
            tar.addfile(info, io.BytesIO(content))
    return Path(path)


def write_shard(folder: str | Path, name: str, samples: Iterable[Sample]) -> Path:
    """Write a shard's three files as img2dataset does; return the tar.

    They are ``<name>.tar``, ``<name>.parquet`` and ``<name>_stats.json``. The samples stream
    through. Members carry no time; the stats file, which comes last and marks the shard as whole,
    states zero for times, which were not measured. `describe_sample` fills in the metadata that
    img2dataset states and a sample lacks.

    Args:
        folder: made where it is missing; files of these names in it are replaced.
        name: of the three files, without extension; five digits at img2dataset's.
        samples: in the order in which they shall stand; each is asked for once.
    """
    from webdataset import TarWriter

    folder = Path(folder)
    records = []
    with (
        atomic_path(folder / f"{name}.tar") as temporary,
        open(temporary, "wb") as stream,
        TarWriter(stream, encoder=False, mtime=0, format="PAX_FORMAT") as tar,
    ):
        for sample in samples:
            records.append(describe_sample(sample))
            tar.write({"__key__": sample.key, **_members(sample, records[-1])})
    _write_parquet(folder / f"{name}.parquet", records)
    _write_stats(folder / f"{name}_stats.json", len(records))
    return folder / f"{name}.tar"


def describe_sample(sample: Sample) -> dict[str, Any]:
    """Return the json of ``sample``: img2dataset's columns, overridden by its metadata.

    Columns are filled in from the image. Bytes of a caption that are not UTF-8 (surrogates, as
    Python reads them) stand in the txt alone.
    """
    width, height = _size(sample.image)
    caption = sample.caption and sample.caption.encode("utf-8", "replace").decode()
    record = {
        "url": None,
        "caption": caption,
        "key": sample.key,
        "status": "success",
        "error_message": None,
        "width": width,
        "height": height,
        "original_width": width,
        "original_height": height,
        "exif": "{}",
        "sha256": hashlib.sha256(sample.image).hexdigest() if sample.image is not None else None,
    }
    return record | sample.metadata


def _size(image: bytes | None) -> tuple[int, int] | tuple[None, None]:
    from dcr.data.decoding import read_size
    from dcr.data.developing import DecodingError

    try:
        return (None, None) if image is None else read_size(image)
    except DecodingError:  # bytes that are no image are written as they are
        return None, None


def _members(sample: Sample, record: dict[str, Any]) -> dict[str, bytes]:
    members = {"json": json.dumps(record, ensure_ascii=False).encode()}
    if sample.image is not None:
        members[sample.image_extension or "jpg"] = sample.image
    if sample.caption is not None:
        members["txt"] = sample.caption.encode("utf-8", "surrogateescape")
    return members


def _write_parquet(path: Path, records: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = dict.fromkeys(column for record in records for column in record)
    table = pa.table({column: [record.get(column) for record in records] for column in columns})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def _write_stats(path: Path, count: int) -> None:
    stats = {
        "count": count, "successes": count, "failed_to_download": 0, "failed_to_resize": 0,
        "duration": 0.0, "start_time": 0.0, "end_time": 0.0, "status_dict": {"success": count},
    }  # fmt: skip
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(stats, indent=4), encoding="utf-8")
