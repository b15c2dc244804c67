"""From findings to fates: policies applied, everything counted, one shard in memory at a time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcr.errors import UserError
from dcr.validation.comparing import Comparison, compare, from_bits, to_bits
from dcr.validation.contamination import EvaluationImages
from dcr.validation.likenesses import SHOWN, Likenesses
from dcr.validation.reasons import REASONS, SHARD_REASONS
from dcr.validation.tables import Known, SampleTables, ShardTable, TablePlan


def plan_judging(
    tables: SampleTables,
    evaluation: EvaluationImages,
    distance: int,
    policies: Mapping[str, str],
    likenesses: Likenesses,
    sources: Mapping[str, str],
) -> TablePlan:
    """Plan a table for each shard in which every sample has its fate.

    Instead of ``findings`` it has ``reasons`` (comma-separated, of policy warn, reject or fail),
    ``status`` (``accepted`` or ``rejected``), ``duplicate_group`` (the same number for samples that
    repeat each other, null for others) and ``evaluation_image`` (the image of an evaluation set
    that it is, or null), and where features were compared `dcr.validation.likenesses.SHOWN`. Its
    record has ``reasons`` and ``source`` of the shard and the numbers ``accepted`` and
    ``rejected``.

    Args:
        tables: of `dcr.validation.measuring.SCHEMA`.
        evaluation: images that training must not see.
        distance: see `dcr.validation.comparing.compare`.
        policies: a policy for every name in `dcr.validation.reasons.REASONS`.
        likenesses: what the samples' features tell.
        sources: name of each shard's source, as `dcr.data.shards.sources_of` gives it; it goes into
            the shard's record.

    Raises:
        UserError: a shard was measured that has no source.
    """
    tables.require(sources)

    def make(_: Known) -> Iterator[ShardTable]:
        """Judge all shards anew: the fate of a sample depends on all others."""
        fatal = {reason for reason, policy in policies.items() if policy in ("reject", "fail")}
        lost = {
            record["shard"] for record in tables.records() if fatal.intersection(record["findings"])
        }
        comparison = compare(tables, evaluation, distance, fatal, lost, likenesses)
        start = 0
        for table, alike in zip(tables.tables(), likenesses.tables(), strict=True):
            here = slice(start, start + len(table.rows))
            rows = comparison.evaluation_image[here]
            names = [
                evaluation.names[row] if row >= 0 else like
                for row, like in zip(rows, alike["near_evaluation"].to_pylist(), strict=True)
            ]
            shown = alike.select(SHOWN if likenesses.is_asked else [])
            source = sources[table.record["shard"]]
            yield _judge_shard(table, comparison, here, names, shown, policies, source)
            start = here.stop

    return TablePlan([record["shard"] for record in tables.records()], make)


def _judge_shard(
    table: ShardTable,
    comparison: Comparison,
    here: slice,
    names: list[str | None],
    shown: pa.Table,
    policies: Mapping[str, str],
    source: str,
) -> ShardTable:
    told = {reason for reason, policy in policies.items() if policy != "accept"}
    fatal = to_bits({reason for reason, policy in policies.items() if policy in ("reject", "fail")})
    reasons = comparison.reasons[here] & to_bits(told)
    rejected = comparison.lost[here] | (reasons & fatal > 0)
    kinds, kind = np.unique(reasons, return_inverse=True)
    group = comparison.group[here]
    columns = {
        "reasons": (
            pa.array([",".join(from_bits(bits)) for bits in kinds], pa.string()).take(
                pa.array(kind)
            )
        ),
        "status": pa.array(np.where(rejected, "rejected", "accepted"), pa.string()),
        "duplicate_group": pa.array(group, pa.int64(), mask=group < 0),
        "evaluation_image": pa.array(names, pa.string()),
        "source": pa.array([source] * len(names), pa.string()),
        **{name: shown[name] for name in shown.column_names},
    }
    rows = table.rows.drop_columns("findings")
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    record = {
        name: value
        for name, value in table.record.items()
        if name not in ("findings", "fingerprint")
    }
    record["source"] = source
    record["reasons"] = ",".join(sorted(told.intersection(table.record["findings"])))
    return ShardTable(
        rows, record | {"accepted": int((~rejected).sum()), "rejected": int(rejected.sum())}
    )


def summarize(judged: SampleTables) -> dict[str, Any]:
    """Return the counts of ``validation.json``.

    ``accepted + rejected = samples``; ``sources`` has the same counts of each source. ``reasons``
    counts the samples that have a reason, those only warned of included, and the shards for reasons
    that concern a whole shard; a sample may have several. ``accepted_sha256`` is of the accepted
    samples' keys and images in order, as a latent cache tells which samples it holds.

    Args:
        judged: what became of every sample, see `plan_judging`.
    """
    found: dict[str, Counter[str]] = {}
    records = judged.records()
    accepted = hashlib.sha256()
    for table in judged.tables(["reasons", "status", "key", "sha256"]):
        own = found.setdefault(table.record["source"], Counter())
        own.update(split_reasons(table.record["reasons"]))
        passed = table.rows.filter(pc.equal(table.rows["status"], "accepted"))
        for row in passed.select(["key", "sha256"]).to_pylist():
            accepted.update(f"{row['key']} {row['sha256']}\n".encode("utf-8", "surrogateescape"))
        for count in pc.value_counts(table.rows["reasons"]).to_pylist():
            own.update(dict.fromkeys(split_reasons(count["values"]), count["counts"]))
    sources = {
        name: _count([record for record in records if record["source"] == name], own)
        for name, own in sorted(found.items())
    }
    return _count(records, sum(found.values(), Counter())) | {
        "accepted_sha256": accepted.hexdigest(),
        "sources": sources,
    }


def _count(records: list[dict[str, Any]], reasons: Counter[str]) -> dict[str, Any]:
    """Return the counts of some shards, whose samples have the reasons that were counted."""

    def total(name: str) -> int:
        """Return the sum of what the shards' records call ``name``."""
        return sum(record[name] for record in records)

    return {
        "shards": len(records), "samples": total("num_samples"), "accepted": total("accepted"),
        "rejected": total("rejected"), "reasons": dict(sorted(reasons.items())),
        "unreadable_bytes": total("unreadable_bytes"),
    }  # fmt: skip


def select(judged: SampleTables, status: str) -> Iterator[pa.Table]:
    """Yield by shard the rows of ``judged`` of a ``status``, ``accepted`` or ``rejected``."""
    for table in judged.tables():
        yield table.rows.filter(pc.equal(table.rows["status"], status))


def check_release(
    judged: SampleTables, policies: Mapping[str, str], failed_expectations: list[str]
) -> None:
    """Let the data pass, or say in one sentence what stops them.

    Args:
        judged: what became of every sample, see `plan_judging`.
        policies: of every reason.
        failed_expectations: a clause for each that is critical, see
            `dcr.validation.expectations.describe_failure`.

    Raises:
        UserError: a policy or a critical expectation fails, or no sample was accepted.
    """
    failing = {reason for reason, policy in policies.items() if policy == "fail"}
    first = None
    count = 0
    for sentence in _failures(judged, failing):
        first = first or sentence
        count += 1
    advice = "mend the data, or change the limits or the expectations of the recipe"
    for failure in failed_expectations:
        first = first or f"expectation {failure}{_main_reason(judged, policies)}; {advice}"
        count += 1
    if first is None and not any(record["accepted"] for record in judged.records()):
        first = (
            f"no sample was accepted{_main_reason(judged, policies)}; mend the data or change the"
            " policies"
        )
        count = 1
    if first:
        more = f"; {count - 1} more and" if count > 1 else ";"
        raise UserError(f"validation stopped: {first}{more} all findings are in validation.html")


def _main_reason(judged: SampleTables, policies: Mapping[str, str]) -> str:
    """Return in words what most samples, or shards, were rejected for."""
    found = {
        name: count
        for name, count in summarize(judged)["reasons"].items()
        if policies[name] == "reject"
    }
    if not found:
        return ""
    reason = max(found, key=lambda name: found[name])
    return f" ({reason}, {found[reason]} times: {REASONS[reason]})"


def _failures(judged: SampleTables, failing: set[str]) -> Iterator[str]:
    for record in judged.records():
        for reason in sorted(failing.intersection(split_reasons(record["reasons"]))):
            yield (
                f"shard {record['shard']}:"
                f" {SHARD_REASONS[reason]}{_detail(record, reason)}{_advice(reason)}"
            )
    for table in judged.tables(["key", "reasons"]):
        for row in table.rows.filter(pc.not_equal(table.rows["reasons"], "")).to_pylist():
            for reason in sorted(failing.intersection(split_reasons(row["reasons"]))):
                yield (
                    f"sample {row['key']} of shard {table.record['shard']}:"
                    f" {REASONS[reason]}{_advice(reason)}"
                )


def _detail(record: dict[str, Any], reason: str) -> str:
    if reason == "members_apart":
        return f" (the first such key: {record['apart']!r}); write the tar in the order of names"
    return f" ({record['damage']}; {record['unreadable_bytes']} bytes)" if record["damage"] else ""


def _advice(reason: str) -> str:
    return f"; mend or remove it, or set validation.policies.{reason} to warn or reject"


def split_reasons(reasons: str) -> list[str]:
    """Return the names in ``reasons``, a value of the column of that name."""
    return [reason for reason in reasons.split(",") if reason]
