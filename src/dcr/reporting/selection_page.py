"""The search for the setting of stage 2 on one page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from dcr.reporting.names import measure_name
from dcr.reporting.numbers import show_difference, show_interval, show_value
from dcr.reporting.page import render_template

Record = Mapping[str, Any]


def render_selection(recipe: str, confidence: float, record: Record, plot: go.Figure) -> str:
    """Return the page.

    Args:
        recipe: its name.
        confidence: coverage of the intervals.
        record: see `dcr.selection.record.make_record`.
        plot: of detail over class separation.
    """
    return render_template(
        "selection.html",
        {"selection_plot": plot},
        recipe=recipe,
        record=record,
        confidence=f"{100 * confidence:g}",
        columns=_columns(record),
        base=_base_rows(record),
        rows=[_row(name, found, record) for name, found in record["candidates"].items()],
    )


def _columns(record: Record) -> list[dict[str, str]]:
    """Return the rule's measures, each with what the rule asks of it."""
    words: dict[str, list[str]] = {}
    for entry in record["rule"]["improve"]:
        words.setdefault(entry["measure"], []).append(
            f"to rise, in units of {100 * entry['scale']:.2f}"
        )
    for entry in record["rule"]["keep"]:
        words.setdefault(entry["measure"], []).append(f"to lose at most {100 * entry['loss']:.2f}")
    return [{"name": measure_name(key), "asked": "; ".join(asked)} for key, asked in words.items()]


def _base_rows(record: Record) -> list[dict[str, Any]]:
    """Return the base as it is, and as it is with each candidate's alignment."""
    first, *_ = record["candidates"].values()
    rows = {"Base": [show_value(found["before"]["value"]) for found in first["measures"].values()]}
    for name, candidate in record["candidates"].items():
        values = [found["base_aligned"] for found in candidate["measures"].values()]
        if None not in values:
            rows[f"Base, aligned as {name}"] = [show_value(value) for value in values]
    return [{"name": name, "values": values} for name, values in rows.items()]


def _row(name: str, candidate: Mapping[str, Any], record: Record) -> dict[str, Any]:
    return {
        "name": name,
        "is_chosen": name == record["chosen"],
        "gain": f"{candidate['smallest_gain']:.2f}".replace("-", "−"),
        "limited_by": measure_name(candidate["limited_by"]),
        "keeps": not candidate["violations"],
        "alignment": candidate["alignment"],
        "steps": f"{candidate['steps']:,}",
        "hours": f"{candidate['hours']:.2f}",
        "cells": [
            _cell(key, found, candidate["violations"])
            for key, found in candidate["measures"].items()
        ],
    }


def _cell(key: str, found: Mapping[str, Any], violations: Mapping[str, float]) -> dict[str, Any]:
    difference = found["difference"]
    return {
        "value": show_value(found["after"]["value"]),
        "difference": show_difference(difference["value"]),
        "interval": show_interval((difference["low"], difference["high"])),
        "seeds": ", ".join(
            f"{seed}: {show_value(value)}" for seed, value in found["seeds"].items()
        ),
        "excess": show_value(violations[key]) if key in violations else "",
    }
