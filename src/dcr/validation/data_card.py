"""What a model was trained on, for those who are handed it.

It tells sources, licence, counts, and what was left out and why. The record is plain values for
machines, the card the same in Markdown for people. Both follow the questions of Gebru et al.
("Datasheets for Datasets", 2018, arXiv 1803.09010) as far as validation can answer them:
composition, collection as the source declares it, preprocessing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow.compute as pc

from dcr.validation.reasons import REASONS
from dcr.validation.tables import SampleTables
from dcr.validation.tokens import Counting

NOT_DECLARED = "not declared"
_COLUMNS = [
    "status",
    "format",
    "mode",
    "width",
    "height",
    "num_captions",
    "caption_length",
    "caption_language",
    "caption_tokens",
    "caption_truncated",
]
_COUNTED = (*_COLUMNS, "shorter_side")
_OF_SHARDS = ("shard", "source", "num_bytes", "num_samples", "accepted")
_QUANTILES = (0.05, 0.5, 0.95)
Counts = dict[str, Counter[Any]]
"""By column, how often each of its values was found."""


@dataclass(frozen=True)
class Declared:
    """What the recipe says of its data, and by what it judges them.

    Attributes:
        recipe: its name.
        licence: of the shards, as their source declares it; None where nobody said.
        sources: by name, their shards as the recipe writes them, folders, patterns or URLs.
        weights: by source, how often training draws from it.
        limits: those by which samples are measured, by name.
        policies: what follows from each reason.
        counting: of the captions' tokens.
    """

    recipe: str
    licence: str | None
    sources: Mapping[str, list[str]]
    weights: Mapping[str, float]
    limits: Mapping[str, Any]
    policies: Mapping[str, str]
    counting: Counting


def describe_data(
    declared: Declared,
    judged: SampleTables,
    summary: Mapping[str, Any],
    expectations: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the record: plain values, as `data_card.json` keeps them.

    Args:
        declared: what the recipe says.
        judged: rows with their verdicts, read one shard at a time.
        summary: `validation.json`.
        expectations: how the suite fared.

    Returns:
        ``recipe``, ``licence``, ``sources`` (name, shards as written, weight, counts, images and
        captions of each), ``num_bytes`` of all shards, the counts of ``summary``, ``reasons``
        (policy, meaning and number of each that was found), ``images`` and ``captions`` of the
        accepted samples (counts by format, mode and language, quantiles of sizes and lengths, and
        how many a tokenizer cuts), ``limits``, ``expectations_failed``, ``accepted_sha256``, and
        ``shards`` (name, source, bytes, samples, accepted).
    """
    records = judged.records()
    reasons = {
        name: {"number": number, "policy": declared.policies[name], "meaning": REASONS[name]}
        for name, number in summary["reasons"].items()
    }
    failed = [result for result in expectations["results"] if not result["success"]]
    by_source = {name: _count_accepted(judged, name) for name in declared.sources}
    return {
        "recipe": declared.recipe,
        "licence": declared.licence or NOT_DECLARED,
        "sources": _describe_sources(declared, by_source, summary),
        "num_bytes": sum(record["num_bytes"] for record in records),
        **{name: summary[name] for name in ("samples", "accepted", "rejected")},
        "reasons": reasons,
        **_describe_accepted(_sum(by_source.values()), declared.counting),
        "limits": dict(declared.limits),
        "expectations_failed": [
            {name: result[name] for name in ("source", "expectation", "kwargs", "severity")}
            for result in failed
        ],
        "accepted_sha256": summary["accepted_sha256"],
        "shards": [
            {
                name: record[name]
                for name in ("shard", "source", "num_bytes", "num_samples", "accepted")
            }
            for record in records
        ],
    }


def _describe_sources(
    declared: Declared, by_source: Mapping[str, Counts], summary: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "shards": shards,
            "weight": declared.weights[name],
            **_renamed(summary["sources"].get(name, {})),
            **_describe_accepted(by_source[name], declared.counting),
        }
        for name, shards in declared.sources.items()
    ]


def _renamed(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source's counts, whose number of shards leaves their name to the patterns."""
    return {"shards_found" if name == "shards" else name: n for name, n in counts.items()}


def _count_accepted(judged: SampleTables, source: str) -> Counts:
    """Return how often each value of each column is found in a source's accepted samples."""
    found: Counts = {name: Counter() for name in _COUNTED}
    for table in judged.tables(_COLUMNS, source):
        rows = table.rows.filter(pc.equal(table.rows["status"], "accepted"))
        shorter = pc.min_element_wise(rows["width"], rows["height"])
        rows = rows.append_column("shorter_side", shorter)
        for name, counter in found.items():
            for count in pc.value_counts(rows[name]).to_pylist():
                counter[count["values"]] += count["counts"]
    return found


def _sum(parts: Iterable[Counts]) -> Counts:
    return reduce(lambda a, b: {name: a[name] + b[name] for name in _COUNTED}, parts)


def _describe_accepted(found: Counts, counting: Counting) -> dict[str, Any]:
    """Return what images and captions of samples that were counted are like."""
    return {
        "images": {
            "formats": _by_number(found["format"]),
            "modes": _by_number(found["mode"]),
            "shorter_side": _quantiles(found["shorter_side"]),
        },
        "captions": _describe_captions(found, counting),
    }


def _describe_captions(found: Counts, counting: Counting) -> dict[str, Any]:
    cut = found["caption_truncated"]
    languages = found["caption_language"]
    several = {number: count for number, count in found["num_captions"].items() if number > 1}
    del languages[None]
    return {
        "missing": found["caption_length"][None],
        "several": sum(several.values()),
        "characters": _quantiles(found["caption_length"]),
        "languages": _by_number(languages),
        "tokens": _quantiles(found["caption_tokens"]),
        "tokenizer": {
            "name": counting.name,
            "context_length": counting.context_length,
            "why_not": counting.why_not,
            "counted": cut[True] + cut[False],
            "cut": cut[True],
        },
    }


def _by_number(counter: Counter[Any]) -> dict[str, int]:
    return {str(name): number for name, number in sorted(counter.items(), key=lambda c: -c[1])}


def _quantiles(counter: Counter[Any]) -> dict[str, int]:
    """Return the least values up to which 5, 50 and 95 % of those that are known lie."""
    known = sorted((value, number) for value, number in counter.items() if value is not None)
    total = sum(number for _, number in known)
    quantiles: dict[str, int] = {}
    seen = 0
    for value, number in known:
        seen += number
        for share in _QUANTILES:
            if seen >= share * total:
                quantiles.setdefault(f"{share:.0%}", value)
    return quantiles
