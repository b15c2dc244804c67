"""Which samples to show of millions: one look at all of them, remembering positions alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcr.validation.judging import split_reasons
from dcr.validation.tables import SampleTables

_NUM_ACCEPTED = 16
_NUM_GROUPS = 6
_COLUMNS = ["reasons", "status", "duplicate_group", "format", "mode"]


@dataclass(frozen=True)
class Survey:
    """Positions of samples to show.

    Attributes:
        reasons: the first samples that have each reason.
        accepted: accepted samples at even distances, so that every part of the data is seen.
        num_groups: how many groups of duplicates there are.
        groups: (size, first members) of the largest of them.
        formats: {format, mode, count} of the images, the most frequent first.
    """

    reasons: dict[str, list[int]]
    accepted: list[int]
    num_groups: int
    groups: list[tuple[int, list[int]]]
    formats: list[dict[str, Any]]

    def positions(self) -> list[int]:
        """Return all of them."""
        shown = [*self.reasons.values(), self.accepted, *(members for _, members in self.groups)]
        return [position for positions in shown for position in positions]


def survey_samples(judged: SampleTables, num_accepted: int, num_examples: int) -> Survey:
    """Look through all samples, 16 bytes for each duplicate in memory.

    Args:
        judged: see `dcr.validation.judging.plan_judging`.
        num_accepted: how many were accepted.
        num_examples: samples for each reason and of each group.
    """
    wanted = (
        np.unique(np.linspace(0, num_accepted - 1, _NUM_ACCEPTED).astype(int))
        if num_accepted
        else np.arange(0)
    )
    reasons: defaultdict[str, list[int]] = defaultdict(list)
    formats: Counter[tuple[str, str]] = Counter()
    accepted = []
    positions = [np.empty(0, np.int64)]
    groups = [np.empty(0, np.int64)]
    start = passed = 0
    for table in judged.tables(_COLUMNS):
        rows = table.rows
        _note_reasons(reasons, rows["reasons"], start, num_examples)
        here = np.flatnonzero(pc.equal(rows["status"], "accepted").to_numpy())
        accepted += (
            start + here[wanted[(wanted >= passed) & (wanted < passed + len(here))] - passed]
        ).tolist()
        doubled = np.flatnonzero(pc.is_valid(rows["duplicate_group"]).to_numpy())
        positions.append(start + doubled)
        groups.append(rows["duplicate_group"].drop_null().to_numpy())
        kinds = (
            rows.filter(pc.is_valid(rows["format"]))
            .group_by(["format", "mode"])
            .aggregate([([], "count_all")])
        )
        formats.update(
            {(kind["format"], kind["mode"]): kind["count_all"] for kind in kinds.to_pylist()}
        )
        start += len(rows)
        passed += len(here)
    num_groups, largest = _largest_groups(
        np.concatenate(groups), np.concatenate(positions), num_examples
    )
    ranked = sorted(formats.items(), key=lambda item: (-item[1], item[0]))
    kinds = [{"format": format, "mode": mode, "count": count} for (format, mode), count in ranked]
    return Survey(dict(reasons), accepted, num_groups, largest, kinds)


def _note_reasons(
    reasons: dict[str, list[int]], column: pa.ChunkedArray, start: int, num_examples: int
) -> None:
    for value in pc.unique(column).to_pylist():
        open_names = [name for name in split_reasons(value) if len(reasons[name]) < num_examples]
        if open_names:
            places = (
                start + np.flatnonzero(pc.equal(column, value).to_numpy())[:num_examples]
            ).tolist()
            for name in open_names:
                reasons[name] = sorted(reasons[name] + places)[:num_examples]


def _largest_groups(
    groups: np.ndarray, positions: np.ndarray, num_examples: int
) -> tuple[int, list[tuple[int, list[int]]]]:
    leaders, sizes = np.unique(groups, return_counts=True)
    largest = np.argsort(-sizes, kind="stable")[:_NUM_GROUPS]
    shown = []
    for leader, size in zip(leaders[largest], sizes[largest], strict=True):
        others = [
            position for position in positions[groups == leader].tolist() if position != leader
        ]
        shown.append((int(size), [int(leader), *others[: max(0, num_examples - 1)]]))
    return len(leaders), shown
