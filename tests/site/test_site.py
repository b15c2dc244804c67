"""The site of the documentation: built without a warning, each link leads somewhere, and a browser
that opens it asks for its own files alone.
"""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from build_site import CONTENTS
from project import PROJECT

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Links(HTMLParser):
    """What a page leads to, loads, and can be entered at."""

    def __init__(self, path):
        super().__init__()
        self.leads_to, self.loads, self.anchors = [], [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors |= {attributes.get("id") or ""}
        if tag == "a" and attributes.get("href"):
            self.leads_to.append(attributes["href"])
        if address := attributes.get(LOADED.get(tag, "")):
            self.loads.append(address)


def build(folder, *options):
    return subprocess.run(
        [sys.executable, *options, folder], capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site") / "docs"
    done = build(folder, PROJECT / "docs" / "site" / "build_site.py")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Links(path) for path in site.rglob("*.html")}


def test_every_page_of_the_repository_is_in_it(site):
    written = {path.stem for path in (PROJECT / "docs").glob("*.md")}
    assert {path.stem for path in (site / "docs").glob("*.html")} == written | {"parameters"}
    assert {"index.html", "README.html", "CONTRIBUTING.html"} <= {p.name for p in site.iterdir()}


def test_words_stay_as_they_are_written(site):
    assert "runs without --env." in (site / "docs" / "parameters.html").read_text(encoding="utf-8")


def test_every_link_leads_to_a_file_and_a_place_in_it(pages):
    gone = []
    for path, links in pages.items():
        for address in links.leads_to:
            parts = urlsplit(address)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            found = pages[target].anchors if target in pages else {""}
            if not target.is_file() or unquote(parts.fragment) not in found:
                gone.append((path.name, address))
    assert gone == []


def test_what_a_page_loads_lies_beside_it(pages):
    for path, links in pages.items():
        for address in links.loads:
            parts = urlsplit(address)
            assert (parts.scheme, parts.netloc) == ("", ""), (path.name, address)
            beside = path.parent / unquote(parts.path) if parts.path else path
            assert beside.is_file(), (path.name, address)


def test_styles_load_nothing_from_elsewhere(site):
    styles = list(site.rglob("*.css"))
    assert len(styles) > 2
    for path in styles:
        loaded = re.findall(r"url\(['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", path.read_text())
        for address in filter(None, (one for pair in loaded for one in pair)):
            assert address.startswith("data:") or (path.parent / address).is_file(), address


@pytest.fixture
def small(tmp_path):
    """A project of one page besides those that the site's contents name, and its site's script."""
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "docs" / "site", project / "docs" / "site")
    for name in ("conf", "src", "notebooks"):
        (project / name).symlink_to(PROJECT / name)
    for section in CONTENTS.values():
        for name in section:
            (project / "docs" / f"{name}.md").write_text(f"# {name}\n")
    (project / "docs" / "parameters.md").unlink()
    (project / "README.md").write_text("# One\n")
    return project


def test_a_link_to_nothing_and_a_place_that_is_none_stop_the_build_and_leave_the_site(small):
    script, site = small / "docs" / "site" / "build_site.py", small / "build"
    assert build(site, script).returncode == 0
    before = {path: path.read_bytes() for path in site.rglob("*.html")}
    (small / "README.md").write_text("# Another\n\n[two](two.md) and [here](#three)\n")
    done = build(site, script)
    assert done.returncode == 1
    assert "'two.md'" in done.stderr
    assert "'three'" in done.stderr
    assert {path: path.read_bytes() for path in site.rglob("*.html")} == before
    assert sorted(path.name for path in small.iterdir() if path.suffix == ".tmp") == []
    (small / "README.md").write_text("# Another\n")
    assert build(site, script).returncode == 0
    assert "Another" in (site / "index.html").read_text(encoding="utf-8")


def test_a_folder_of_other_things_is_not_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = build(tmp_path, PROJECT / "docs" / "site" / "build_site.py")
    assert "holds no site" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["index.html", "docs/parameters.html"])
def test_a_browser_asks_for_its_files_alone(site, browser, name):
    page = browser.page((site / name).as_uri(), 1280)
    assert page.errors() == []
    assert len(page.requests()) > 3
    assert [url for url in page.requests() if not url.startswith(site.as_uri())] == []


def test_a_page_fits_a_telephone(site, browser):
    page = browser.page((site / "index.html").as_uri(), 400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_words_are_found_without_a_server(site, browser):
    page = browser.page(f"{(site / 'search.html').as_uri()}?q=rows_per_chunk", 1280)
    # They come one after the other, so one has to wait for the one that is looked for.
    place = (site / "docs" / "parameters.html").as_uri()
    links = "[...document.querySelectorAll('#search-results li a')]"
    page.wait_until(f"{links}.some(a => a.href.startsWith('{place}'))")
    assert [url for url in page.requests() if not url.startswith(site.as_uri())] == []
