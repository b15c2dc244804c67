"""Counts what makes sources long to read: sizes, packed assignments, arguments without a word, many
parameters.

    python benchmarks/structure.py                 # src/dcr
    python benchmarks/structure.py <another checkout>/src/dcr

An argument of a public function counts as named if its name is a word of the function's own
docstring. An assignment is packed if both sides are tuples written out.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


def arguments(function: Function) -> list[str]:
    """Return the names of a function's arguments but ``self`` and ``cls``."""
    own = function.args
    names = [argument.arg for argument in (*own.posonlyargs, *own.args, *own.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def is_packed(node: ast.AST) -> bool:
    """Tell whether a node is an assignment of several values to several names."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
        return False
    return any(isinstance(target, ast.Tuple) for target in node.targets)


def named(function: Function) -> Iterator[bool]:
    """Yield for every argument of a function whether its docstring names it."""
    text = ast.get_docstring(function) or ""
    for name in arguments(function):
        yield re.search(rf"\b{re.escape(name)}\b", text) is not None


def count(folder: Path) -> dict[str, float]:
    """Return what was counted in all modules under a folder, by what it is."""
    sources = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    functions = [node for node in nodes if isinstance(node, Function)]
    sizes = [function.end_lineno - function.lineno + 1 for function in functions]
    lengths = [len(source.splitlines()) for source in sources]
    words = [is_named for f in functions if not f.name.startswith("_") for is_named in named(f)]
    return {
        "lines": sum(lengths),
        "modules": len(sources),
        "median lines of a module": statistics.median(lengths),
        "modules over 250 lines": sum(length > 250 for length in lengths),
        "functions": len(functions),
        "median lines of a function, with its docstring": statistics.median(sizes),
        "functions over 40 lines": sum(size > 40 for size in sizes),
        "functions of more than 8 arguments": sum(
            len(arguments(function)) > 8 for function in functions
        ),
        "packed assignments per 1000 lines": round(
            1000 * sum(map(is_packed, nodes)) / sum(lengths), 2
        ),
        "share of arguments named in docstrings": round(sum(words) / len(words), 3),
    }


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "src" / "dcr"
    for what, value in count(root).items():
        print(f"{what}: {value:,}")
