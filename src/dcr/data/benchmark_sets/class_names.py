"""Class names, their order, and each one's folder: what does not agree is refused, not guessed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from dcr.data.benchmark_sets.files import Folder
from dcr.errors import UserError

CLASS_NAMES = "classnames.txt"
_NUM_SHOWN = 3


def read_class_names(folder: Folder) -> list[str]:
    """Return the lines of a ``folder``'s ``classnames.txt``.

    Each is the name of the class of the line's number, from 0.

    Raises:
        UserError: a line in between is blank, which would number all that follow it anew.
    """
    lines = folder.read_lines(CLASS_NAMES, keep_blank=True)
    if "" in lines:
        raise UserError(
            f"{folder.place(CLASS_NAMES)}: line {lines.index('') + 1} is blank, but every line"
            " names the class of its number: fill it in or remove it"
        )
    return lines


def describe_class_names(names: Sequence[str]) -> list[str]:
    """Return what a reader of the scores must know of class names.

    It is those that two classes share, and bare numbers.
    """
    notes = []
    if doubled := [name for name, number in Counter(names).items() if number > 1]:
        notes.append(
            f"several classes share a name, so that no text tells them apart: {_enumerate(doubled)}"
        )
    if all(_is_number(name) for name in names):
        notes.append(
            "the class names are numbers, and so are those in its prompts; words may stand in"
            f" {CLASS_NAMES}"
        )
    return notes


def order_folders(folders: Sequence[str], where: object) -> list[str]:
    """Return class folders in the order of their labels.

    Numbers are sorted as numbers, other names as torchvision sorts them.

    Args:
        folders: names of all class folders, in any order.
        where: what an error names as their place.

    Raises:
        UserError: two folders are the same number, as 1 and 01 are.
    """
    if not all(_is_number(name) for name in folders):
        return sorted(folders)
    for number, count in Counter(int(name) for name in folders).items():
        if count > 1:
            raise UserError(
                f"{where}: several class folders are the number {number}: rename all but one of"
                " them"
            )
    return sorted(folders, key=int)


def match_names(
    folders: Sequence[str], names: Sequence[str], where: str
) -> tuple[list[str], list[str]]:
    """Return class folders in the order of their labels, and the name of each.

    Names that are those of the folders, whatever stands for their spaces, decide the order. Other
    names belong to the folders in their order (see `order_folders`), which must then be beyond
    doubt.

    Args:
        folders: all class folders. names: the lines of ``classnames.txt``. where: the path of that
            file.

    Raises:
        UserError: there are not as many names as folders, or it cannot be told which belongs to
            which.
    """
    if len(names) != len(folders):
        raise UserError(
            f"{where} has {len(names)} lines, but there are {len(folders)} class folders"
        )
    by_name = {_plain(folder): folder for folder in folders}
    if len(by_name) == len(folders) and {_plain(name) for name in names} == set(by_name):
        return [by_name[_plain(name)] for name in names], list(names)
    ordered = order_folders(folders, where)
    _check_order(ordered, where)
    for number, (folder, name) in enumerate(zip(ordered, names, strict=True), 1):
        if _plain(name) in by_name and _plain(name) != _plain(folder):
            raise UserError(
                f"{where}: line {number} is {name!r}, the name of folder {by_name[_plain(name)]},"
                f" but the folder at its place is {folder}: name each folder in its own line, or"
                " rename the folders"
            )
    return ordered, list(names)


def _check_order(ordered: Sequence[str], where: str) -> None:
    if all(_is_number(folder) for folder in ordered):
        first = int(ordered[0])
        if first > 1 or int(ordered[-1]) - first + 1 != len(ordered):
            raise UserError(
                f"{where} has {len(ordered)} lines, but the class folders are not numbered without"
                f" gaps from 0 or 1 (they go from {ordered[0]} to {ordered[-1]}): which line is"
                " whose cannot be told"
            )
        return
    for folder, other in zip(ordered, sorted(ordered, key=_natural), strict=True):
        if folder != other:
            raise UserError(
                f"{where}: which line belongs to which folder cannot be told, since the folders"
                f" have several orders ({folder} or {other} first): write the folders' own names"
                " into it, or number them with equal digits"
            )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return the key that sorts digits by their value and letters without their case."""
    parts = re.findall(r"\d+|\D+", name.casefold())
    return [(0, int(part), "") if _is_number(part) else (1, 0, part) for part in parts]


def _plain(name: str) -> str:
    return " ".join(re.split(r"[\s_-]+", name.casefold().strip()))


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _enumerate(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
    return ", ".join(names[:_NUM_SHOWN]) + more
