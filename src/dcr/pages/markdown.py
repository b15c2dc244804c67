"""Foreign words inside Markdown: shown as they are, and never read as markup."""

from __future__ import annotations

import re

_MARKUP = re.compile(
    r"[\\`*\[\]|~$#!{}]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=\w):(?=//)|(?<=\bwww)\."
)
_LIST = re.compile(r"^(\d*)([-+=.)])")  # what would begin a list, or underline a heading
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def one_line(value: object) -> str:
    """Return a value in words on one line; what cannot be printed becomes a space."""
    return " ".join(
        "".join(letter if letter.isprintable() else " " for letter in str(value)).split()
    )


def text(value: object) -> str:
    """Return a value as running text, also inside a table: no markup, no HTML, no link."""
    escaped = _MARKUP.sub(lambda match: f"\\{match[0]}", one_line(value))
    escaped = _LIST.sub(r"\1\\\2", escaped)
    return re.sub("[&<>]", lambda match: _ENTITIES[match[0]], escaped)


def code(value: object) -> str:
    """Return a value as a code span; its fence is longer than any backticks in it."""
    words = one_line(value)
    if not words:
        return ""
    fence = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    padding = " " if "`" in words else ""
    return f"{fence}{padding}{words}{padding}{fence}"


def code_cell(value: object) -> str:
    """Return a value as a code span inside a table, where a bar ends a cell even in a span."""
    return code(value).replace("|", "\\|")
