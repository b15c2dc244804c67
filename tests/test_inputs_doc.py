"""docs/inputs.md agrees with what happens."""

import re
from pathlib import Path

import pytest

from dcr.validation.images import measure_image
from dcr.validation.reasons import REASONS
from picture_cases import CASES

DOCUMENT = Path(__file__).parents[1] / "docs" / "inputs.md"


def rows_of(section: str) -> dict[str, tuple[str, set[str]]]:
    """Return a section's table: its first column to the second and the names in the third."""
    text = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ]
    return {first: (second, set(re.findall(r"`(\w+)`", third))) for first, second, third in lines[2:]}


def test_every_kind_of_picture_is_told():
    assert {case.row for case in CASES} == {
        row for row, (_, reasons) in rows_of("Pictures").items() if reasons != {"unsupported_format"}
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_a_picture_has_the_reasons_that_its_row_tells(case):
    measures = measure_image(case.content, 10_000)
    told = rows_of("Pictures")[case.row][1]
    found = {*measures.changes, *(["animated"] if measures.animated else [])}
    assert measures.reason is None
    assert told <= found <= told | {"transparent"}  # a turned picture may be transparent, too


def test_the_formats_that_are_told_not_to_be_decoded_are_not():
    first_bytes = {
        "TIFF": b"II*\0", "AVIF": b"\0\0\0\x20ftypavif", "HEIC": b"\0\0\0\x18ftypheic", "JPEG XL": b"\xff\x0a",
        "JPEG 2000": b"\0\0\0\x0cjP  ", "SVG": b"<svg xmlns=", "PDF": b"%PDF-1.4", "HTML": b"<!DOCTYPE html>",
    }  # fmt: skip
    (row,) = [row for row, (_, reasons) in rows_of("Pictures").items() if reasons == {"unsupported_format"}]
    assert row.split(", ") == list(first_bytes)
    for content in first_bytes.values():
        assert measure_image(content, 10_000).reason == "unsupported_format"


def test_every_reason_that_is_told_exists():
    told = re.findall(r"`(\w+)` *\|$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(told) <= set(REASONS)
