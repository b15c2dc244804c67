"""Tables of docs/inputs.md, which the tests compare with what happens."""

from project import PROJECT

DOCUMENT = PROJECT / "docs" / "inputs.md"


def table_of(section: str) -> list[list[str]]:
    """Return the rows of a section's table, without its head."""
    text = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [
        line.removeprefix("|").removesuffix("|").split(" | ")
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [[cell.strip() for cell in line] for line in lines[2:]]
