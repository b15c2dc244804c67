"""What a model was trained on, for those who are handed it.

It tells sources, licence, counts, and what was left out and why. The record is plain values for
machines, the card the same in Markdown for people. Both follow the questions of Gebru et al.
("Datasheets for Datasets", 2018, arXiv 1803.09010) as far as validation can answer them:
composition, collection as the source declares it, preprocessing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from dcr.pages.markdown import code, code_cell, text
from dcr.validation.captions import UNDETERMINED, Counting
from dcr.validation.reasons import REASONS
from dcr.validation.tables import SampleTables

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
_NUM_LANGUAGES = 8
_QUANTILES = (0.05, 0.5, 0.95)
_FATES = {"reject": "left out", "fail": "stops the run", "warn": "kept and counted"}


@dataclass(frozen=True)
class Declared:
    """What the recipe says of its data, and by what it judges them.

    Attributes:
        recipe: its name.
        licence: of the shards, as their source declares it; None where nobody said.
        sources: the shards as the recipe writes them, folders, patterns or URLs.
        limits: those by which samples are measured, by name.
        policies: what follows from each reason.
        counting: of the captions' tokens.
    """

    recipe: str
    licence: str | None
    sources: list[str]
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
        ``recipe``, ``licence``, ``sources``, ``num_bytes`` of all shards, the counts of
        ``summary``, ``reasons`` (policy, meaning and number of each that was found), ``images`` and
        ``captions`` of the accepted samples (counts by format, mode and language, quantiles of
        sizes and lengths, and how many a tokenizer cuts), ``limits``, ``expectations_failed``,
        ``accepted_sha256``, and ``shards`` (name, bytes, samples, accepted).
    """
    records = judged.records()
    reasons = {
        name: {"number": number, "policy": declared.policies[name], "meaning": REASONS[name]}
        for name, number in summary["reasons"].items()
    }
    failed = [result for result in expectations["results"] if not result["success"]]
    return {
        "recipe": declared.recipe,
        "licence": declared.licence or NOT_DECLARED,
        "sources": declared.sources,
        "num_bytes": sum(record["num_bytes"] for record in records),
        **{name: summary[name] for name in ("samples", "accepted", "rejected")},
        "reasons": reasons,
        **_describe_accepted(judged, declared.counting),
        "limits": dict(declared.limits),
        "expectations_failed": [
            {name: result[name] for name in ("expectation", "kwargs", "severity")}
            for result in failed
        ],
        "accepted_sha256": summary["accepted_sha256"],
        "shards": [
            {name: record[name] for name in ("shard", "num_bytes", "num_samples", "accepted")}
            for record in records
        ],
    }


def _describe_accepted(judged: SampleTables, counting: Counting) -> dict[str, Any]:
    """Return what images and captions of the accepted samples are like, from one pass of shards."""
    found: dict[str, Counter[Any]] = {name: Counter() for name in (*_COLUMNS, "shorter_side")}
    for table in judged.tables(_COLUMNS):
        rows = table.rows.filter(pc.equal(table.rows["status"], "accepted"))
        shorter = pc.min_element_wise(rows["width"], rows["height"])
        rows = rows.append_column("shorter_side", shorter)
        for name, counter in found.items():
            for count in pc.value_counts(rows[name]).to_pylist():
                counter[count["values"]] += count["counts"]
    return {
        "images": {
            "formats": _by_number(found["format"]),
            "modes": _by_number(found["mode"]),
            "shorter_side": _quantiles(found["shorter_side"]),
        },
        "captions": _describe_captions(found, counting),
    }


def _describe_captions(found: dict[str, Counter[Any]], counting: Counting) -> dict[str, Any]:
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


def render_data_card(record: Mapping[str, Any]) -> str:
    """Return the card in Markdown; whatever comes from files is shown as it is.

    Args:
        record: as `describe_data` returns it.
    """
    left_out = record["samples"] - record["accepted"]
    sections = [
        f"# Data of recipe {code(record['recipe'])}",
        f"{record['accepted']:,} of {record['samples']:,} samples were trained on, from"
        f" {len(record['shards']):,} shards of {record['num_bytes'] / 1e6:,.1f} MB;"
        f" {left_out:,} were left out.",
        "## Sources",
        "\n".join(f"- {code(source)}" for source in record["sources"]),
        f"Licence, as the source declares it: {text(record['licence'])}.",
        "## What was found, and what followed",
        _table(("reason", "number", "what follows", "meaning"), _reason_rows(record)),
        "## What is left",
        _table(("", ""), _accepted_rows(record)),
        "## By which limits",
        _table(("limit", "value"), _limit_rows(record["limits"])),
        "## Expectations",
        _expectations(record["expectations_failed"]),
        "## Which samples",
        "The sha256 over keys and images of the accepted samples, in order, is"
        f" {code(record['accepted_sha256'])}; `data_card.json` lists the shards.",
    ]
    return "\n\n".join(sections) + "\n"


def _reason_rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    ordered = sorted(record["reasons"].items(), key=lambda found: -found[1]["number"])
    return [
        (code(name), f"{found['number']:,}", _FATES[found["policy"]], text(found["meaning"]))
        for name, found in ordered
    ]


def _limit_rows(limits: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [(text(name), code_cell(value)) for name, value in limits.items()]


def _accepted_rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    images, captions = record["images"], record["captions"]
    counted = {
        "formats": images["formats"],
        "modes": images["modes"],
    }
    spread = {
        "shorter side, px": images["shorter_side"],
        "caption, characters": captions["characters"],
        "caption, tokens": captions["tokens"],
    }
    rows = [
        (name, ", ".join(f"{text(kind)} {number:,}" for kind, number in found.items()))
        for name, found in counted.items()
    ]
    rows += [
        (name, ", ".join(f"{value:,} at {share}" for share, value in found.items()) or "none")
        for name, found in spread.items()
    ]
    rows += [
        ("without a caption", f"{captions['missing']:,}"),
        ("with several captions", f"{captions['several']:,}"),
        ("language of the caption", tell_languages(captions["languages"])),
        ("caption, cut", text(tell_cut(captions["tokenizer"]))),
    ]
    return rows


def tell_languages(languages: Mapping[str, int]) -> str:
    """Return the shares of the languages in words, the most frequent first.

    Args:
        languages: number by ISO 639's code.
    """
    total = sum(languages.values())
    names = {UNDETERMINED: "undetermined"}
    shares = [
        f"{names.get(code, code)} {number / total:.1%}"
        for code, number in list(languages.items())[:_NUM_LANGUAGES]
    ]
    left = len(languages) - len(shares)
    return ", ".join([*shares, *([f"{left} others"] if left else [])]) or "none"


def tell_cut(tokenizer: Mapping[str, Any]) -> str:
    """Return how many captions are longer than the text tower reads, or why that is not known.

    Args:
        tokenizer: as `describe_data` has it among ``captions``.
    """
    if tokenizer["why_not"]:
        return f"not counted: {tokenizer['why_not']}"
    counted = tokenizer["counted"]
    return (
        f"{tokenizer['cut']:,} of {counted:,} ({tokenizer['cut'] / max(counted, 1):.1%}) have more"
        f" than the {tokenizer['context_length']} tokens that are read, by the tokenizer"
        f" {tokenizer['name']}"
    )


def _expectations(failed: list[dict[str, Any]]) -> str:
    if not failed:
        return "All expectations of the recipe's suite hold."
    return "\n".join(
        f"- {code(one['expectation'])} fails ({text(one['severity'])}): {code(one['kwargs'])}"
        for one in failed
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return "Nothing."
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
