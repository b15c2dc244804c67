"""Label overrides: a table beside a set that drops some of its items, or corrects them.

Published sets have wrong labels, and papers differ in what they do about them. The set stays as it
was published, and is scored so; what the table changes is scored beside it.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcr.data.benchmark_sets.entries import check_text, read_json_lines
from dcr.data.benchmark_sets.files import Folder
from dcr.errors import UserError

TABLE = "overrides.csv"
LINES = "overrides.jsonl"
DROP = "drop"
CORRECT = "correct"
_COLUMNS = ("item", "action", "value", "reason")
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Override:
    """What is done to one item.

    Attributes:
        where: file and line, for errors.
        item: name of a group, key of a sample, or the two ids of a pair of MMVP-VLM, ``1-2``.
        action: `DROP` or `CORRECT`.
        value: of a correction, what is right; what it holds depends on the kind of set.
        reason: why, in words.
    """

    where: str
    item: str
    action: str
    value: str
    reason: str


@dataclass(frozen=True)
class Overrides:
    """The overrides of one set; ``place`` is their file, "" where there is none."""

    place: str = ""
    entries: tuple[Override, ...] = ()

    @property
    def words(self) -> list[str]:
        """What results depend on: all but the reasons."""
        return [repr((one.item, one.action, one.value)) for one in self.entries]

    def select(self, items: Sequence[str]) -> tuple[list[int], Mapping[int, Override]]:
        """Return the places of the items that stay, and the correction of each place that has one.

        Args:
            items: names of all items of the set, in order.

        Raises:
            UserError: an item is not there, or several have its name; or none stays.
        """
        number = Counter(items)
        by_item = {one.item: one for one in self.entries}
        for one in self.entries:
            if number[one.item] != 1:
                found = "there is none" if number[one.item] == 0 else "several are called so"
                raise UserError(
                    f"{one.where}: item {one.item[:80]!r} must be one of the set, but {found}"
                )
        kept = [
            place
            for place, item in enumerate(items)
            if item not in by_item or by_item[item].action == CORRECT
        ]
        if not kept:
            raise UserError(f"{self.place} drops every item of the set")
        corrections = {place: by_item[items[place]] for place in kept if items[place] in by_item}
        return kept, corrections

    def tell(self) -> str:
        """Say how many items are dropped and corrected, and why."""
        actions = Counter(one.action for one in self.entries)
        reasons = Counter(one.reason for one in self.entries)
        told = ", ".join(f"{reason} ({number})" for reason, number in reasons.most_common(3))
        more = f" and {len(reasons) - 3} more reasons" if len(reasons) > 3 else ""
        return (
            f"{self.place.rpartition('/')[2]} drops {actions[DROP]} and corrects"
            f" {actions[CORRECT]} items: {told}{more}"
        )


NO_OVERRIDES = Overrides()


def read_overrides(folder: Folder) -> Overrides:
    """Return the overrides that lie in a local ``folder``, or none.

    Their file is ``overrides.csv`` or ``overrides.jsonl``.

    Raises:
        UserError: both are there, or a row is not whole.
    """
    there = [name for name in (TABLE, LINES) if folder.has_file(name)]
    if len(there) > 1:
        raise UserError(f"{folder} has {TABLE} and {LINES}: keep one of them")
    if not there:
        return NO_OVERRIDES
    place = folder.place(there[0])
    rows = _rows_of_table(folder) if there[0] == TABLE else _rows_of_lines(folder)
    entries = tuple(_check(where, *row) for where, row in rows)
    seen: set[str] = set()
    for one in entries:
        if one.item in seen:
            raise UserError(f"{one.where}: item {one.item[:80]!r} is there twice")
        seen.add(one.item)
    return Overrides(place, entries)


def _rows_of_table(folder: Folder) -> Iterator[tuple[str, Sequence[str]]]:
    place = folder.place(TABLE)
    reader = csv.reader(io.StringIO(folder.read_text(TABLE, _MAX_BYTES), newline=""), strict=True)
    try:
        if tuple(cell.strip() for cell in next(reader, [])) != _COLUMNS:
            raise UserError(f"{place}, line 1: expected the columns {','.join(_COLUMNS)}")
        for row in reader:
            where = f"{place}, line {reader.line_num}"
            if len(row) != len(_COLUMNS):
                raise UserError(f"{where}: expected {','.join(_COLUMNS)}, got {len(row)} cells")
            yield where, [cell.strip() for cell in row]
    except csv.Error as error:
        raise UserError(f"{place}, line {reader.line_num}: {error}") from error


def _rows_of_lines(folder: Folder) -> Iterator[tuple[str, Sequence[str]]]:
    for entry in read_json_lines(folder, LINES):
        value: Any = entry.value
        if not isinstance(value, dict) or not {"item", "action", "reason"} <= set(value):
            raise UserError(f"{entry.where}: expected an object of {', '.join(_COLUMNS)}")
        if unknown := sorted(set(value) - set(_COLUMNS)):
            raise UserError(f"{entry.where}: {unknown[0]!r} is none of {', '.join(_COLUMNS)}")
        given = "" if value.get("value", "") == "" else entry.text("value")
        yield entry.where, [entry.text("item"), entry.text("action"), given, entry.text("reason")]


def _check(where: str, item: str, action: str, value: str, reason: str) -> Override:
    check_text(item, "item", where)
    check_text(reason, "reason", where)
    if action not in (DROP, CORRECT):
        raise UserError(f"{where}: 'action' is {DROP} or {CORRECT}, got {action[:40]!r}")
    if (action == CORRECT) != bool(value):
        raise UserError(f"{where}: a correction needs a value, and what is dropped has none")
    return Override(where, item, action, value, reason)
