"""Shards into rows, one a sample; a shard is the unit of work, and its harm ends with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa

from dcr.data.remote import (
    RemoteSettings,
    current_settings,
    exists,
    is_remote,
    look_up_now,
    use_settings,
)
from dcr.data.shards import Sample, ShardReader
from dcr.errors import UserError
from dcr.files import sha256_file
from dcr.fingerprints import code_hash, fingerprint
from dcr.validation.downloads import EncodedAgain, all_failed
from dcr.validation.rows import SCHEMA, Limits, clean_text, measure_samples
from dcr.validation.tables import Known, ShardTable, TablePlan
from dcr.validation.watchdog import GivenUp, watched
from dcr.validation.workers import Workers

_BATCH_SAMPLES = 64  # read and measured at once
_BATCH_BYTES = 16 << 20  # a batch ends with the sample that fills it
_ROWS_AT_ONCE = 4096
# Their findings depend on more than the fingerprint: on stats that img2dataset writes last, on the
# machine's load.
_LOOKED_AT_AGAIN = frozenset({"shard_empty", "shard_all_failed", "shard_too_costly"})


def plan_measuring(shards: dict[str, str], limits: Limits, workers: Workers) -> TablePlan:
    """Plan a table of `SCHEMA` for each shard; one shard is the unit of work.

    A table is kept while its fingerprint holds: that of the shard's bytes, its neighbours, the
    limits and the code.

    Args:
        shards: path to name, as `dcr.data.shards.name_shards` gives it.
        limits: see `Limits`.
        workers: where the work is done.
    """

    def make(known: Known) -> Iterator[ShardTable]:
        """Measure the shards whose fingerprint in ``known`` does not hold, as they are done."""
        from dcr.progress import show_progress

        calls = ((path, name, limits, known.get(name)) for path, name in shards.items())
        measure = partial(_measure_there, current_settings())
        with show_progress(total=len(shards), desc="validate", unit="shard") as bar:
            for table in workers.run(measure, calls, _lose_shard):
                bar.update()
                if table is not None:
                    yield table

    return TablePlan(list(shards.values()), make)


def _measure_there(remote: RemoteSettings, *call: Any) -> ShardTable | None:
    """Measure a shard where a worker is, which may be another host's."""
    use_settings(remote)
    return measure_shard(*call)


def fingerprint_shard(path: str, limits: Limits) -> str:
    """Return a hash of all that a shard's table depends on.

    Local shards are hashed whole, because sizes and times can stay the same when bytes do not; of
    remote ones the store's own marks of change are taken (size and tags, else times), so that they
    need not be read twice.

    Args:
        path: of the shard, or its URL.
        limits: those that rows depend on take part.

    Raises:
        UserError: the shard cannot be read.
    """
    try:
        content = (
            look_up_now(path).mark if is_remote(path) else sha256_file(path.removeprefix("file://"))
        )
    except OSError as exc:
        raise UserError(f"shard {path} cannot be opened: {exc}") from exc
    return fingerprint(
        code=code_hash(__name__),
        limits=_measured_by(limits),
        content=content,
        interrupted=_is_interrupted(path),
    )


def _measured_by(limits: Limits) -> dict[str, Any]:
    """Return the limits that rows depend on.

    A shard that was not given up has the same rows under all budgets, and the tokenizer is the one
    of its sum wherever it lies.
    """
    others = {"max_seconds_per_megabyte", "max_gigabytes", "tokenizer_file"}
    return {name: value for name, value in asdict(limits).items() if name not in others}


def measure_shard(
    path: str, name: str, limits: Limits, known: str | None = None
) -> ShardTable | None:
    """Read one shard and return a row for every sample found in it, whatever is wrong with it.

    Args:
        path: of the shard, or its URL.
        name: the name that it has in tables.
        limits: where a sample begins to be wrong, and what the shard may cost.
        known: fingerprint of the table that is there, None without one.

    Returns:
        The rows of `SCHEMA` and a record of shard, fingerprint, num_bytes, num_samples, damage,
        unreadable_bytes, findings, apart; None if the shard's fingerprint is ``known``. Of shards
        that are looked at again in each run the fingerprint is None.
    """
    made_from = fingerprint_shard(path, limits)
    if made_from == known:
        return None
    try:
        with ShardReader(path, names=limits.caption_names) as reader, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings; what matters of them is a finding
            megabytes = reader.size / 1e6
            with watched(megabytes, limits.max_seconds_per_megabyte, limits.max_gigabytes) as look:
                rows = _measure_all(reader, name, limits, look)
    except GivenUp as exc:
        return give_up_shard(path, name, str(exc))
    findings = _shard_findings(path, reader, len(rows))
    record = {
        "shard": name,
        "fingerprint": None if _LOOKED_AT_AGAIN.intersection(findings) else made_from,
        "num_bytes": reader.size,
        "num_samples": len(rows),
        "damage": reader.damage,
        "unreadable_bytes": reader.unreadable_bytes,
        "findings": findings,
        "apart": None if reader.apart is None else clean_text(reader.apart),
    }
    return ShardTable(rows, record)


def give_up_shard(path: str, name: str, why: str) -> ShardTable:
    """Return the stand-in for the table of a shard that cannot be measured: ``shard_too_costly``.

    Args:
        path: of the shard, or its URL; it is opened, for its size.
        name: the name that it has in tables.
        why: told as its damage.
    """
    with ShardReader(path) as reader:
        record = {
            "shard": name,
            "fingerprint": None,
            "num_bytes": reader.size,
            "num_samples": 0,
            "damage": why,
            "unreadable_bytes": reader.size,
            "findings": ["shard_too_costly"],
            "apart": None,
        }
    return ShardTable(SCHEMA.empty_table(), record)


def _lose_shard(path: str, name: str, *_: Any) -> ShardTable:
    return give_up_shard(
        path,
        name,
        "the process that read it was killed, twice: most likely it takes too much memory",
    )


def _measure_all(
    reader: ShardReader, name: str, limits: Limits, look: Callable[[], None]
) -> pa.Table:
    """Return the rows of a shard.

    As rows take twenty times the memory of a table's, few of them are kept as such.
    """
    tables = [SCHEMA.empty_table()]
    rows = []
    number = 0
    encoded_again = EncodedAgain()
    for batch in _batches(reader):
        look()
        measured = measure_samples(batch, name, limits)
        for sample, row in zip(batch, measured, strict=True):
            encoded_again.add(number, sample.metadata, row["declared_sha256"], row["sha256"])
            number += 1
        rows += measured
        if len(rows) >= _ROWS_AT_ONCE:
            tables.append(pa.Table.from_pylist(rows, schema=SCHEMA))
            rows = []
    table = pa.concat_tables([*tables, pa.Table.from_pylist(rows, schema=SCHEMA)]).combine_chunks()
    return _without_mismatches(table, encoded_again.doubtful) if encoded_again else table


def _without_mismatches(table: pa.Table, numbers: list[int]) -> pa.Table:
    findings = table["findings"].to_pylist()
    for number in numbers:
        findings[number].remove("sha256_mismatch")
    place = table.schema.get_field_index("findings")
    return table.set_column(
        place, SCHEMA.field("findings"), pa.array(findings, SCHEMA.field("findings").type)
    )


def _shard_findings(path: str, reader: ShardReader, num_samples: int) -> list[str]:
    findings = []
    if num_samples == 0 and all_failed(path):
        findings.append("shard_all_failed")
    elif num_samples == 0:
        findings.append("tar_unreadable" if reader.damage and reader.size else "shard_empty")
    elif reader.damage:
        findings.append("tar_damaged")
    if reader.apart is not None:
        findings.append("members_apart")
    if _is_interrupted(path):
        findings.append("shard_interrupted")
    return findings


def _is_interrupted(path: str) -> bool:
    stem = path.removesuffix(".tar")
    return exists(f"{stem}.parquet") and not exists(f"{stem}_stats.json")


def _batches(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Group samples, a few megabytes of the tar at a time, as stages are faster than samples."""
    batch: list[Sample] = []
    for sample in samples:
        batch.append(sample)
        num_bytes = sample.offset - batch[0].offset + len(sample.image or b"")
        if len(batch) == _BATCH_SAMPLES or num_bytes > _BATCH_BYTES:
            yield batch
            batch = []
    yield batch
