"""Links between the pages that people read: each leads to a file of the project."""

import re

import pytest

from project import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    gone = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert gone == []


def test_every_page_of_the_docs_is_reached_from_the_readme():
    linked = set(LINK.findall((PROJECT / "README.md").read_text(encoding="utf-8")))
    pages = {f"docs/{page.name}" for page in (PROJECT / "docs").glob("*.md")}
    assert pages <= linked
