"""The page of all parameters, from the classes in dcr.parameters and the comments of conf/base."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from dcr.parameters import RecipeGlobals, Section
from dcr.parameters.section import Checked
from kinds import in_words

HEAD = """# Parameters

Every parameter with its kind, the value that `conf/base` gives it, and what it does. This page is
made from the classes in `src/dcr/parameters/` and the comments of `conf/base/*.yml`. A recipe names
those that differ, in files of the same names in its own folder;
`--params training.stage2.learning_rate=1e-4` goes before both.
"""
_SPECIAL = re.compile(r"([\\*_<>\[\]|$~#])")


@dataclass
class Entry:
    """Parameters that one comment explains, or the heading of a section."""

    comment: list[str]
    names: dict[str, str] = field(default_factory=dict)
    """Kind and value of each parameter in Markdown, by dotted name."""
    heading: str | None = None


def parameters_page(conf: Path) -> str:
    """Return the page in Markdown.

    Args:
        conf: the folder ``conf/base``.
    """
    parts = [HEAD, *_section("globals.yml", RecipeGlobals, conf / "globals.yml", "")]
    for cls in sorted(Section.__subclasses__(), key=lambda cls: cls.__name__):
        name = cls.__name__.removesuffix("Parameters").lower()
        path = conf / f"parameters_{name}.yml"
        path = path if path.exists() else conf / "parameters.yml"
        parts += _section(name, cls, path, f"{name}.")
    return "\n".join(parts)


def _section(title: str, cls: type[Checked], path: Path, prefix: str) -> Iterator[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    root = yaml.compose("\n".join(lines))
    head = _first_comment(lines)
    if prefix:
        key, root = next(pair for pair in root.value if f"{pair[0].value}." == prefix)
        head = _comment_above(lines, key.start_mark.line)
    yield f"## {title}\n\n*{cls.__doc__.strip().splitlines()[0]}* In `conf/base/{path.name}`.\n"
    yield _paragraphs(head)
    entries = list(_entries(cls, root, lines, prefix))
    told = {name for entry in entries for name in entry.names}
    for entry in entries:
        yield _shown(entry)
    for name, kind in _kinds(cls).items():
        if not prefix and name not in told:
            yield _shown(Entry([], {name: f"{kind}; a recipe's own"}))


def _entries(
    cls: type[Checked], node: yaml.MappingNode, lines: list[str], prefix: str
) -> Iterator[Entry]:
    """Yield what stands under a name of the file, in its order."""
    kinds = _kinds(cls)
    entry = None
    for key, value in node.value:
        name, line = key.value, key.start_mark.line
        nested = _nested(cls, name)
        comment = _comment_above(lines, line)
        if entry and (nested or comment or not lines[line - 1].strip()):
            yield entry
            entry = None
        if nested:
            yield Entry(comment, heading=f"{prefix}{name}")
            yield from _entries(nested, value, lines, f"{prefix}{name}.")
            continue
        entry = entry or Entry(comment)
        entry.names[f"{prefix}{name}"] = f"{kinds[name]}{_value(value, lines)}"
    if entry:
        yield entry


def _nested(cls: type[Checked], name: str) -> type[Checked] | None:
    """Return the class of the section that lies under a name, None for a plain value."""
    annotation = cls.model_fields[name].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Checked) else None


def _kinds(cls: type[Checked]) -> dict[str, str]:
    schema = cls.model_json_schema()
    return {
        name: in_words(kind, schema.get("$defs", {})) for name, kind in schema["properties"].items()
    }


def _value(node: yaml.Node, lines: list[str]) -> str:
    """Return what the file says: in a line, or as it stands where it is a block of lines."""
    first, last = node.start_mark, node.end_mark
    is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    if is_block:
        return "\n\n" + "\n".join(["```yaml", *_shifted(lines[first.line : last.line]), "```"])
    whole = [*lines[first.line : last.line], lines[last.line][: last.column]]
    whole[0] = whole[0][first.column :]
    return f", here `{' '.join(' '.join(whole).split())}`"


def _shifted(block: list[str]) -> list[str]:
    """Return lines without the indentation that they share, and without what ends them in vain."""
    while block and (not block[-1].strip() or block[-1].lstrip().startswith("#")):
        block = block[:-1]
    shared = min(len(line) - len(line.lstrip()) for line in block if line.strip())
    return [line[shared:] for line in block]


def _first_comment(lines: list[str]) -> list[str]:
    length = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.removeprefix("#") for line in lines[:length]]


def _comment_above(lines: list[str], line: int) -> list[str]:
    """Return the comment that ends above a line, without its signs."""
    first = line
    while first and lines[first - 1].strip().startswith("#"):
        first -= 1
    return [line.strip().removeprefix("#") for line in lines[first:line]]


def _shown(entry: Entry) -> str:
    text = _paragraphs(entry.comment)
    if entry.heading:
        return f"### {entry.heading}\n\n{text}"
    names = "\\\n".join(f"**`{name}`** {told}" for name, told in entry.names.items())
    return f"{names}\n\n{text}"


def _paragraphs(comment: list[str]) -> str:
    """Return a comment as Markdown; what it indents stays as it is."""
    parts: list[tuple[bool, list[str]]] = []
    for line in comment:
        is_code = line.startswith("   ") or (line.startswith("  ") and bool(parts))
        if not line.strip():
            parts.append((False, []))
        elif parts and parts[-1][0] == is_code and parts[-1][1]:
            parts[-1][1].append(line)
        else:
            parts.append((is_code, [line]))
    return "\n".join(
        "\n".join(["```text", *_shifted(block), "```", ""]) if is_code else _text(block)
        for is_code, block in parts
        if block
    )


def _text(block: list[str]) -> str:
    """Return lines of words as a paragraph, with Markdown's signs as themselves."""
    words = " ".join(line.strip() for line in block)
    spans = re.split(r"(`[^`]+`)", words)
    return "".join(s if s.startswith("`") else _SPECIAL.sub(r"\\\1", s) for s in spans) + "\n"
