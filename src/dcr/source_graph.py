"""Which of the project's sources a module runs through, read from the imports that its text holds."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from dcr.files import sha256_file

_PACKAGE = "dcr"
_ROOT = Path(__file__).parent
_APART = {_ROOT, _ROOT / "datasets", _ROOT / "pipelines"}  # folders of parts that have nothing to do with each other


def sources_of(modules: Iterable[str]) -> list[str]:
    """Return what ``modules`` run through, as sorted paths of files and folders relative to the package.

    Imports inside functions count, those for type checking alone do not. A module's name in quotes, by which it is
    started in another process, counts as an import; a package's with templates, as use of these. A folder stands for
    its files where at least half of them are meant, so that the list is short and lasts.
    """
    reached = _reachable(modules)
    files = {_module(name) for name in reached}
    for name in {quoted for module in reached for quoted in _imported(module)[1]}:
        files |= _files(_module(name).parent / "templates")
    return sorted(path.relative_to(_ROOT).as_posix() for path in _in_folders(files))


@cache
def sources_hash(*parts: str) -> str:
    """Return a hex sha256 over names and bytes of the modules in ``parts``, files and folders relative to the package.

    Neither compiled modules beside them nor the place of the package count: a clone elsewhere has the same hash.
    """
    digest = hashlib.sha256()
    for part in parts:
        path = _ROOT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(_ROOT).as_posix()} {sha256_file(file)}\n".encode())
    return digest.hexdigest()


def _reachable(modules: Iterable[str]) -> set[str]:
    waiting, seen = list(modules), set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [*_imported(name)[0], *_parents(name)]
    return seen


def _parents(name: str) -> Iterator[str]:
    """Yield the packages that are imported before a module of theirs, but for the top one, which does nothing."""
    while (name := name.rpartition(".")[0]) != _PACKAGE:
        yield name


def _files(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def _in_folders(files: set[Path]) -> set[Path]:
    for folder in sorted({path.parent for path in files} - _APART, key=lambda path: len(path.parts)):
        inside = _files(folder)
        if len(inside & files) * 2 >= len(inside):
            files = files - inside | {folder}
    return files


def _module(name: str) -> Path:
    if (path := _path(name)) is None:
        raise ValueError(f"{name} is no module of {_PACKAGE}")
    return path


@cache
def _path(name: str) -> Path | None:
    """Return the file of a module of the project below its top, None for any other name."""
    if not name.startswith(f"{_PACKAGE}."):
        return None
    path = _ROOT.joinpath(*name.split(".")[1:])
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@cache
def _imported(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the modules of the project that a module imports, and the packages that it names in quotes."""
    path = _module(name)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    nodes = list(_walk(ast.parse(path.read_text(encoding="utf-8"))))
    quoted = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    quoted = {value for value in quoted if _path(value) is not None}
    packages = frozenset(value for value in quoted if _module(value).name == "__init__.py")
    found = {value for node in nodes for value in _names(node, package) if _path(value) is not None}
    return frozenset(found | quoted - packages), packages


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, without what is for type checking alone."""
    if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)


def _names(node: ast.AST, package: str) -> Iterator[str]:
    """Yield every dotted name of an import that may be a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node, package)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return str(node.module)
    base = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])
