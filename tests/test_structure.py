"""The house keeps its measure: short modules, and no module that comes back to itself."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import dcr

PACKAGE = Path(dcr.__file__).parent
MODULES = {
    ".".join(("dcr", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in PACKAGE.rglob("*.py")
}


def imports_of(path):
    """Yield the modules of the project that a module imports, those for its types included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def test_no_module_has_more_than_250_lines():
    long = {
        name: count
        for name, path in MODULES.items()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 250
    }
    assert long == {}


def test_imports_never_come_back_to_where_they_began():
    graph = {name: set(imports_of(path)) - {name} for name, path in MODULES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(MODULES)
