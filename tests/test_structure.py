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


def private_names():
    """Return the private names that the package defines: functions, classes, attributes."""
    found = set()
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def uses_of_private_names(tree, private):
    """Yield the private names that a test reaches for, but for those of its own classes and of
    PyTorch, whose names happen to be the same.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in private:
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls", "module", "torch.utils"):
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("dcr"):
            yield from (alias.name for alias in node.names if alias.name.startswith("_"))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "setattr":
            names = [part.value for part in node.args if isinstance(part, ast.Constant)]
            yield from (n for n in map(str, names) if n.rpartition(".")[2] in private)


def test_tests_reach_for_public_names_alone():
    private = private_names()
    tests = Path(__file__).parent
    found = {
        f"{path.relative_to(tests)}: {name}"
        for path in tests.rglob("*.py")
        for name in uses_of_private_names(ast.parse(path.read_text(encoding="utf-8")), private)
    }
    assert found == set()
