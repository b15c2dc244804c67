"""Which sources a module runs through, read from the imports that its text holds."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from dcr.files import sha256_file

_PACKAGE = "dcr"


@dataclass(frozen=True)
class _Text:
    """What a module's text names.

    Attributes:
        nodes: its syntax, without what is for type checking alone.
        package: the package that its relative imports start from.
    """

    nodes: tuple[ast.AST, ...]
    package: str

    @property
    def imported(self) -> Iterator[tuple[str, str | None]]:
        """Every import: a module's dotted name, and what is taken from it, None for itself."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((self._absolute(node), alias.name) for alias in node.names)

    @property
    def quoted(self) -> set[str]:
        """Every text in quotes, some of which name modules."""
        return {
            node.value
            for node in self.nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }

    @property
    def lists_its_folder(self) -> bool:
        """Whether it looks through its package's folder and finds the modules that lie there."""
        return self._has_name("iter_modules")

    @property
    def hands_on_bytes(self) -> bool:
        """Whether it says of its room that this decides of nothing but whether bytes come."""
        return self._has_name("HANDS_ON_BYTES")

    @property
    def handed_on(self) -> dict[str, tuple[str, str]]:
        """The names that it takes from elsewhere, each with its module and its name there."""
        return {
            alias.asname or alias.name: (self._absolute(node), alias.name)
            for node in self.nodes
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def _has_name(self, name: str) -> bool:
        return any(isinstance(node, ast.Name) and node.id == name for node in self.nodes)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return str(node.module)
        base = self.package.split(".")[: len(self.package.split(".")) - node.level + 1]
        return ".".join([*base, *([node.module] if node.module else [])])


class Sources:
    """A copy of the project's package, read once.

    Imports inside functions count, those for type checking alone do not. A module's name in quotes,
    by which it is started in another process, counts as an import; a package's with templates, as
    use of these. A module that calls ``iter_modules`` looks through its own folder and imports all
    that lies there. A name that a package's ``__init__`` only hands on leads to the module that
    defines it, and to none of the others that are handed on there: who takes one name of a room
    does not depend on the whole room.

    A room whose ``__init__`` sets ``HANDS_ON_BYTES`` has no part in the hash of those that import
    it: it brings the bytes that a result is made of or fails, and what is mended changes no result.

    Args:
        root: the folder of the package.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._texts: dict[str, _Text] = {}
        self._edges: dict[str, frozenset[str]] = {}

    def reached(self, modules: Iterable[str], with_carriers: bool = True) -> set[str]:
        """Return the names of ``modules`` and of all that they import, one by the other.

        Args:
            modules: to begin with.
            with_carriers: go into rooms that hand on bytes, too.

        Raises:
            ValueError: one of them is no module of the project.
        """
        waiting = list(modules)
        seen = set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                found = self._imports(name)
                waiting += (one for one in found if with_carriers or not self._is_carrier(one))
        return seen

    def libraries(self, modules: Iterable[str]) -> set[str]:
        """Return the top names of what ``modules`` and all that they reach import from outside."""
        imported = (self._text(module).imported for module in self.reached(modules))
        return {name.partition(".")[0] for name, _ in chain.from_iterable(imported)} - {_PACKAGE}

    def files(self, modules: Iterable[str], with_carriers: bool = True) -> set[Path]:
        """Return the files of what ``modules`` run through, templates included.

        ``with_carriers`` is as in `reached`.
        """
        reached = self.reached(modules, with_carriers)
        files = {self._file(name) for name in reached}
        for package in {
            name
            for module in reached
            for name in self._text(module).quoted
            if self._is_package(name)
        }:
            files |= _files(self._file(package).parent / "templates")
        return files

    def listed(self, modules: Iterable[str]) -> list[str]:
        """Return sorted paths, relative to the package, of what ``modules`` run through.

        A whole folder stands as one.
        """
        files = self.files(modules)
        for folder in sorted(
            {parent for path in files for parent in path.parents if parent != self.root}
        ):
            if folder.is_relative_to(self.root) and (inside := _files(folder)) <= files:
                files = files - inside | {folder}
        return sorted(path.relative_to(self.root).as_posix() for path in files)

    def hash(self, modules: Iterable[str]) -> str:
        """Return a hex sha256 over names and bytes of the files that ``modules`` run through.

        Rooms that hand on bytes, and what these alone import, do not count; nor do compiled modules
        and the place of the package: a clone elsewhere has the same hash.
        """
        digest = hashlib.sha256()
        for file in sorted(self.files(modules, with_carriers=False)):
            name = file.relative_to(self.root).as_posix()
            digest.update(f"{name} {sha256_file(file)}\n".encode())
        return digest.hexdigest()

    def _imports(self, name: str) -> frozenset[str]:
        if name not in self._edges:
            text = self._text(name)
            found = {
                module
                for base, taken in text.imported
                if (module := self._home(base, taken)) is not None
            }
            started = {
                quoted
                for quoted in text.quoted
                if self._path(quoted) and not self._is_package(quoted)
            }
            beside = self._beside(text.package) if text.lists_its_folder else set()
            self._edges[name] = frozenset(found | started | beside)
        return self._edges[name]

    def _is_carrier(self, name: str) -> bool:
        """Tell whether a module lies in a room that hands on bytes, or is its front."""
        while name.startswith(f"{_PACKAGE}."):
            if self._is_package(name) and self._text(name).hands_on_bytes:
                return True
            name = name.rpartition(".")[0]
        return False

    def _beside(self, package: str) -> set[str]:
        """Return the modules and packages that lie in the folder of a package."""
        names = {path.stem for path in self._file(package).parent.iterdir()} - {"__init__"}
        return {module for name in names if self._path(module := f"{package}.{name}")}

    def _home(self, base: str, taken: str | None) -> str | None:
        """Return the module that defines what is taken from ``base``.

        It is None where that is no part of the project.
        """
        if taken is not None and self._path(f"{base}.{taken}"):
            return f"{base}.{taken}"
        if self._path(base) is None:
            return None
        if (
            taken is not None
            and self._is_package(base)
            and (elsewhere := self._text(base).handed_on.get(taken))
        ):
            return self._home(*elsewhere)
        return base

    def _text(self, name: str) -> _Text:
        if name not in self._texts:
            path = self._file(name)
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            self._texts[name] = _Text(
                tuple(_walk(ast.parse(path.read_text(encoding="utf-8")))), package
            )
        return self._texts[name]

    def _is_package(self, name: str) -> bool:
        path = self._path(name)
        return path is not None and path.name == "__init__.py"

    def _file(self, name: str) -> Path:
        if (path := self._path(name)) is None:
            raise ValueError(f"{name} is no module of {_PACKAGE}")
        return path

    def _path(self, name: str) -> Path | None:
        """Return the file of a module of the project below its top, None for any other name."""
        if not name.startswith(f"{_PACKAGE}."):
            return None
        path = self.root.joinpath(*name.split(".")[1:])
        return next(
            (p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None
        )


def _files(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, without what is for type checking alone."""
    if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)
