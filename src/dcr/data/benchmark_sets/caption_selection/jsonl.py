"""DCR's own layout of caption selection: ``groups.jsonl``, a group a line, beside its images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dcr.data.benchmark_sets.caption_selection.groups import (
    Annotation,
    CaptionSelectionSet,
    ImageFile,
    collect,
)
from dcr.data.benchmark_sets.entries import Entry, check_text, read_json_lines
from dcr.data.benchmark_sets.files import Folder
from dcr.data.benchmark_sets.parts import Box
from dcr.errors import UserError
from dcr.metrics.caption_selection import RULES, Pairing

GROUPS = "groups.jsonl"
_NEEDED = ("group", "images", "captions", "pairs")
_FIELDS = (*_NEEDED, "type", "rules")


def is_jsonl(folder: Folder) -> bool:
    """Tell whether a local ``folder`` has this layout."""
    return folder.has_file(GROUPS)


def open_jsonl(folder: Folder) -> CaptionSelectionSet:
    """Open ``groups.jsonl``.

    A line is an object of ``group``, its name; ``images``, paths in the folder, or objects of
    ``file`` and ``box`` (left, top, width, height in pixels) where a part is seen; ``captions``;
    ``pairs`` of (image, caption), by place from 0; and, if wanted, ``type`` and ``rules``, those
    that published numbers are of.

    Args:
        folder: a local one.

    Raises:
        UserError: a line is not such an object, or what it names is not there.
    """
    rules: dict[str, None] = {}

    def annotations() -> Iterator[Annotation]:
        """Yield the groups, and note the rules that they name."""
        for entry in read_json_lines(folder, GROUPS):
            rules.update(dict.fromkeys(_rules_of(entry)))
            yield _annotation(entry)

    found = list(annotations())
    return collect(folder, found, tuple(rules))


def _annotation(entry: Entry) -> Annotation:
    if not isinstance(entry.value, dict) or not set(_NEEDED) <= set(entry.value) <= set(_FIELDS):
        raise UserError(
            f"{entry.where}: expected an object of {', '.join(_NEEDED)} and, if wanted, type and"
            " rules"
        )
    return Annotation(
        entry.where,
        entry.text("group"),
        tuple(_image(image, entry.where) for image in _list(entry, "images")),
        tuple(check_text(caption, "captions", entry.where) for caption in _list(entry, "captions")),
        _pairing(entry),
        "" if entry.value.get("type", "") == "" else entry.text("type"),
    )


def _list(entry: Entry, field: str) -> list[Any]:
    value = entry.get(field)
    if not isinstance(value, list):
        raise UserError(f"{entry.where}: {field!r} must be a list")
    return value


def _rules_of(entry: Entry) -> list[str]:
    if not isinstance(entry.value, dict) or "rules" not in entry.value:
        return []
    names = _list(entry, "rules")
    if not all(name in RULES for name in names):
        raise UserError(f"{entry.where}: 'rules' may hold {', '.join(RULES)}")
    return names


def _pairing(entry: Entry) -> Pairing:
    pairs = _list(entry, "pairs")
    if not all(isinstance(pair, list) and len(pair) == 2 and _are_whole(pair) for pair in pairs):
        raise UserError(
            f"{entry.where}: 'pairs' must be a list of [image, caption], whole numbers from 0"
        )
    return tuple((pair[0], pair[1]) for pair in pairs)


def _image(value: Any, where: str) -> ImageFile:
    if not isinstance(value, dict):
        return ImageFile(check_text(value, "images", where))
    if set(value) != {"file", "box"}:
        raise UserError(f"{where}: an image is a path, or an object of file and box")
    return ImageFile(check_text(value["file"], "file", where), check_box(value["box"], where))


def check_box(value: Any, where: str) -> Box:
    """Return ``value`` as a box: left, top, width and height, in pixels.

    Args:
        value: as JSON gave it. where: file and line, for the error.

    Raises:
        UserError: it is none, or empty.
    """
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not _are_whole(value)
        or max(map(abs, value)) >= 10**6
        or min(value[2:]) < 1
    ):
        raise UserError(
            f"{where}: a box is [left, top, width, height] in whole pixels, the last two above 0,"
            f" got {str(value)[:80]}"
        )
    return value[0], value[1], value[2], value[3]


def _are_whole(values: list[Any]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)
