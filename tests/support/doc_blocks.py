"""The blocks of files and commands on the pages that people read."""

from __future__ import annotations

import re
from pathlib import Path

from project import PROJECT

PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    *sorted((PROJECT / "docs").glob("*.md")),
]
_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r" *# (conf/\w+/\w+\.yml)\n")


def recipe_files(page: Path) -> dict[str, str]:
    """Return the content of each file of a recipe that a page tells to write, by its path."""
    found = {}
    for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "yaml" and (name := _FILE.match(text)):
            lines = text.splitlines()
            shared = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
            found[name[1]] = "\n".join(line[shared:] for line in lines) + "\n"
    return found


def shell_commands(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks, without comments, in their order."""
    blocks = [
        text for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if kind == "sh"
    ]
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def commands_of_kedro(page: Path) -> list[str]:
    """Return the commands of Kedro that a page names in blocks or in its sentences."""
    text = " ".join(page.read_text(encoding="utf-8").split())
    inline = re.findall(r"`(kedro [^`]+)`", text)
    return [line for line in [*shell_commands(page), *inline] if line.startswith("kedro ")]
