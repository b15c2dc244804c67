"""docs/report.md leads through the pages by headings that they have."""

import re
from pathlib import Path

import dcr.reporting
from project import PROJECT

TEXT = (PROJECT / "docs" / "report.md").read_text(encoding="utf-8")
TEMPLATES = Path(dcr.reporting.__file__).parent / "templates"


def headings_of(page):
    text = (TEMPLATES / page).read_text(encoding="utf-8")
    return {found.strip() for found in re.findall(r"<h2>([^<{]+)", text)}


def test_each_heading_that_it_names_is_on_its_page():
    order = TEXT.split("## In this order")[1].split("\n## ")[0]
    of_report, of_comparison = order.split("`comparison.html` adds")
    named = re.findall(r"\*\*([^*]+)\*\*", of_report), re.findall(r"\*\*([^*]+)\*\*", of_comparison)
    assert len(named[0]) == 7
    assert len(named[1]) == 2
    assert set(named[0]) <= headings_of("report.html")
    assert set(named[1]) <= headings_of("comparison.html")
