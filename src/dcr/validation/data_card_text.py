"""The data card in Markdown, from its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dcr.pages.markdown import code, code_cell, text
from dcr.validation.captions import UNDETERMINED
from dcr.validation.declared import PLAIN

_NUM_LANGUAGES = 8
_FATES = {"reject": "left out", "fail": "stops the run", "warn": "kept and counted"}


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
        "\n".join(
            f"- {code(pattern)}" for source in record["sources"] for pattern in source["shards"]
        ),
        f"Licence, as the source declares it: {text(record['licence'])}.",
        "## What was found, and what followed",
        _table(("reason", "number", "what follows", "meaning"), _reason_rows(record)),
        "## What is left",
        _table(("", ""), _accepted_rows(record)),
        *_source_sections(record),
        "## By which limits",
        _table(("limit", "value"), _limit_rows(record["limits"])),
        "## Expectations",
        _expectations(record["expectations_failed"]),
        "## Which samples",
        "The sha256 over keys and images of the accepted samples, in order, is"
        f" {code(record['accepted_sha256'])}; `data_card.json` lists the shards.",
    ]
    return "\n\n".join(sections) + "\n"


def _source_sections(record: Mapping[str, Any]) -> list[str]:
    """Return a section for each of several sources; of one, the card tells all already."""
    sources = record["sources"]
    if len(sources) == 1:
        return []
    total = sum(source["weight"] for source in sources)
    sections = []
    for source in sources:
        found = source.get("reasons", {})
        reasons = ", ".join(f"{code(name)} {number:,}" for name, number in found.items())
        sections += [
            f"## Source {code(source['name'])}",
            f"{', '.join(map(code, source['shards']))}: {source.get('accepted', 0):,} of"
            f" {source.get('samples', 0):,} samples accepted, from"
            f" {source.get('shards_found', 0):,} shards; {source['weight'] / total:.1%} of the"
            f" samples that training draws. Found: {reasons or 'nothing'}.",
            _table(("", ""), _accepted_rows(source)),
        ]
    return sections


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
        languages: number by ISO 639's code, of the captions whose language was looked for.
    """
    total = sum(languages.values())
    names = {UNDETERMINED: "undetermined"}
    shares = [
        f"{names.get(code, code)} {number / total:.1%}"
        for code, number in list(languages.items())[:_NUM_LANGUAGES]
    ]
    left = len(languages) - len(shares)
    return ", ".join([*shares, *([f"{left} others"] if left else [])]) or "not told"


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
        return "All expectations of the recipe hold."
    return "\n".join(
        f"- {code(one['expectation'])}"
        f"{'' if one['source'] == PLAIN else ' of source ' + code(one['source'])}"
        f" fails ({text(one['severity'])}): {code(one['kwargs'])}"
        for one in failed
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return "Nothing."
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
