"""Build the docs as a site whose files ask nothing of the network: build_site.py [folder]."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from dcr.files import atomic_folder
from parameters_page import parameters_page

PROJECT = Path(__file__).resolve().parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINKED = ("conf", "notebooks", "src")
CONTENTS = {
    "Use": (
        "own-photographs",
        "own-data",
        "clusters",
        "pipelines",
        "inputs",
        "report",
        "publishing",
        "package",
        "gpu",
        "parameters",
        "troubleshooting",
    ),
    "Results": ("evidence", "selection", "ledger", "reproducing"),
    "Develop": ("extending", "architecture", "../CONTRIBUTING", "../CHANGELOG"),
}


def lay_out(source: Path) -> None:
    """Write what Sphinx reads: pages and pictures where they lie in the repository, and more.

    That is the page of parameters, and the contents below the first page. Links from page to page
    and to files lead to the same places as in the repository.

    Args:
        source: a new folder.
    """
    (source / "docs").mkdir(parents=True)
    for path in [*(PROJECT / "docs").glob("*.md"), *(PROJECT / "docs").glob("*.png")]:
        shutil.copy(path, source / "docs")
    for name in LINKED:
        (source / name).symlink_to(PROJECT / name)
    page = parameters_page(PROJECT / "conf" / "base")
    (source / "docs" / "parameters.md").write_text(page, encoding="utf-8")
    for name in TOP:
        shutil.copy(PROJECT / name, source)
    with (source / TOP[0]).open("a", encoding="utf-8") as first:
        first.write(_contents(source / "docs"))


def _contents(docs: Path) -> str:
    """Return the contents in Markdown; a page that they do not name comes last."""
    named = {name for names in CONTENTS.values() for name in names}
    others = sorted({path.stem for path in docs.glob("*.md")} - named)
    parts = [*CONTENTS.items(), *([("More", others)] if others else [])]
    return "".join(
        "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", ""])
        + "\n".join(["", *(f"docs/{name}".removeprefix("docs/../") for name in names), "```", ""])
        for caption, names in parts
    )


def build(folder: Path) -> int:
    """Build the site anew, and return 0 if every link leads somewhere and nothing else is wrong.

    Args:
        folder: of the site. A site that is there is replaced once the new one is whole; if anything
            is wrong, it stays.
    """
    if folder.exists() and not (folder / "searchindex.js").exists():
        sys.exit(f"{folder} is there and holds no site: name a new folder")
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        site = Path(temporary) / "site"
        lay_out(source)
        strict = ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet"]
        places = [
            "--conf-dir", str(Path(__file__).parent), "--doctree-dir", f"{temporary}/doctrees"
        ]  # fmt: skip
        if failed := build_main([*strict, *places, str(source), str(site)]):
            return failed
        shutil.copy(site / "README.html", site / "index.html")
        with atomic_folder(folder) as whole:
            shutil.copytree(site, whole, dirs_exist_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]) if sys.argv[1:] else PROJECT / "build" / "docs"))
