"""The ledger as one page that asks the network for nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dcr.ledger.claims import IMPROVEMENT, SCORE
from dcr.ledger.verdicts import CANNOT_BE_TOLD, NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, VERDICTS
from dcr.metrics.direction import is_share
from dcr.pages import fill_template
from dcr.reporting.names import encoder_name, measure_name
from dcr.reporting.numbers import show_difference, show_value
from dcr.reporting.rules import WORDS

Row = Mapping[str, Any]

SIGNS = {REPRODUCED: "=", NOT_REPRODUCED: "≠", CANNOT_BE_TOLD: "?", NOT_MEASURED: "–"}
TONES = {
    REPRODUCED: "better",
    NOT_REPRODUCED: "worse",
    CANNOT_BE_TOLD: "within-noise",
    NOT_MEASURED: "within-noise",
}


def render_ledger(recipe: str, ledger: Mapping[str, Any]) -> str:
    """Return the page of a ledger.

    Args:
        recipe: its name.
        ledger: from `dcr.ledger.judging.ledger_record`.
    """
    tables = build_tables(ledger["rows"])
    return fill_template(
        "dcr.ledger",
        "page.html",
        recipe=recipe,
        headline=headline(ledger["rows"]),
        measured=[table for table in tables if table["is_measured"]],
        others=[table for table in tables if not table["is_measured"]],
        num_tests=ledger["num_tests"],
        num_survivors=sum(row["survives"] for row in ledger["rows"]),
        confidence=f"{100 * ledger['confidence']:g}",
        alpha=f"{round(100 * (1 - ledger['confidence']), 6):g}",
        signs=SIGNS,
        tones=TONES,
    )


def headline(rows: Sequence[Row]) -> str:
    """Return how many published numbers there are, and how many have each verdict.

    Improvements and scores are counted apart.
    """
    if not rows:
        return "The published tables state no number"
    told = []
    for kind, words in ((IMPROVEMENT, "improvements"), (SCORE, "scores")):
        counts = Counter(row["verdict"] for row in rows if row["kind"] == kind)
        parts = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
        if parts:
            told.append(f"{counts.total()} published {words}: {', '.join(parts)}")
    return "; ".join(told)


def build_tables(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the published tables with a row an encoder: its improvement, and its score.

    Args:
        rows: of the ledger, in its order.
    """
    by_table: dict[int, list[Row]] = {}
    for row in rows:
        by_table.setdefault(row["table"], []).append(row)
    return [_table(own) for own in by_table.values()]


def _table(rows: Sequence[Row]) -> dict[str, Any]:
    first = rows[0]
    rule = first["rule"]
    benchmark = first["benchmark"]
    return {
        **{name: first[name] for name in ("source", "place", "title", "note")},
        "num_items": first["items"],
        "measure": measure_name(f"{benchmark}.{first['metric']}"),
        "unit": "percent" if is_share(benchmark) else "",
        "sets": ", ".join(first["sets"]),
        "rule": f"{rule}: {WORDS[rule]}" if rule in WORDS else rule,
        "is_measured": any(row["verdict"] != NOT_MEASURED for row in rows),
        "rows": [
            {
                "name": own[0]["name"],
                "here": _here(own),
                IMPROVEMENT: None,
                SCORE: None,
                **{row["kind"]: _cell(row) for row in own},
            }
            for own in _by_encoder(rows)
        ],
    }


def _by_encoder(rows: Sequence[Row]) -> list[list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["encoder"], []).append(row)
    return list(found.values())


def _here(rows: Sequence[Row]) -> str:
    """Return what stands for an encoder here, where it goes by another name, and its seeds."""
    row = next((row for row in rows if row["here"] is not None), None)
    if row is None or row["here"] == row["encoder"]:
        return ""
    seeds = row["measured"]["num_seeds"]
    return f"{encoder_name(row['here'])}{f', {seeds} seeds' if seeds > 1 else ''}"


def _cell(row: Row) -> dict[str, Any]:
    share = is_share(row["benchmark"])
    measured = row["measured"]
    show = show_difference if row["kind"] == IMPROVEMENT else show_value
    cell = {name: row[name] for name in ("verdict", "reason", "survives")}
    cell |= {"published": show(row["published"]["value"], share)}
    if measured is None:
        return cell | {"value": "", "interval": "", "others": ""}

    def interval(bounds: Sequence[float]) -> str:
        """Return the interval between two bounds in words."""
        return " to ".join(show(bound, share) for bound in bounds)

    has_others = row["predicted"] is not None and measured["num_seeds"] > 1
    return cell | {
        "value": show(measured["value"], share),
        "interval": interval((measured["low"], measured["high"])),
        "others": interval(row["predicted"]) if has_others else "",
    }
