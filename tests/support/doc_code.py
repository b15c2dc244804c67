"""The code of docs/extending.md, laid into a copy of the project as the page says."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from project import PROJECT

_BLOCK = re.compile(
    r"^```(?:python|yaml)\n# ([^\s,]+)(?:, (above|below) the line with `([^`\n]+)`)?\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A file, or lines above or below a line of one that is there, neither where it is a file."""

    path: str
    place: str
    line: str
    code: str


def blocks(heading: str) -> list[Block]:
    """Return the blocks below a heading of the page, up to the next of its level."""
    page = (PROJECT / "docs" / "extending.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [Block(path, *rest) for path, *rest in _BLOCK.findall(section)]


def copy_package(root: Path) -> Path:
    """Copy the package to ``root/src``, which is to go before others on the import path."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "src" / "dcr", root / "src" / "dcr", ignore=ignored)
    return root / "src"


def lay_in(root: Path, found: list[Block]) -> None:
    """Write blocks into a copy of the project."""
    for block in found:
        path = root / block.path
        if not block.place:
            path.write_text(block.code, encoding="utf-8")
            continue
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (at,) = [number for number, line in enumerate(lines) if block.line in line]
        lines.insert(at + (block.place == "below"), block.code)
        path.write_text("".join(lines), encoding="utf-8")


def changed(root: Path) -> set[str]:
    """Return the files of the copy that the package has not, or has otherwise."""
    own = {path.relative_to(root).as_posix(): path for path in (root / "src").rglob("*.py")}
    return {
        name
        for name, path in own.items()
        if not (PROJECT / name).exists() or (PROJECT / name).read_bytes() != path.read_bytes()
    }
