"""docs/troubleshooting.md quotes messages as the sources have them."""

import ast
import re

import pytest

from project import PROJECT

TEXT = (PROJECT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| message")
]
HOLE = "…"


def told(text):
    """Return a message with one sign for whatever stands in its holes, and none at its ends."""
    holes = rf"[`'\"]*{HOLE}(?:[\s.`'\"]*{HOLE})*[`'\"]*"
    return re.sub(holes, HOLE, text).strip(f" {HOLE}.;,")


def text_of(node):
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else HOLE for part in node.values]
        return "".join(parts)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@pytest.fixture(scope="module")
def messages():
    """Every text of the sources, an expression in it as a hole, and the Makefile's lines."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8")) for path in (PROJECT / "src").rglob("*.py")
    ]
    found = {text_of(node) for tree in trees for node in ast.walk(tree)}
    return [told(text) for text in found] + (PROJECT / "Makefile").read_text().splitlines()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_each_message_is_one_of_the_sources(row, messages):
    quoted = told(re.fullmatch(r"(`+)(.+)\1", row[0])[2])
    assert len(quoted) > 10
    assert any(quoted in message for message in messages)


def test_each_row_says_what_lies_behind_and_what_to_do():
    assert len(ROWS) > 40
    assert all(len(row) == 3 and all(row) for row in ROWS)
    assert len({row[0] for row in ROWS}) == len(ROWS)
