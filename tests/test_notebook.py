"""Every notebook runs from its first cell to its last, on a finished run where it reads one, and
defines nothing of its own.
"""

import ast
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
# What each shows; of a text it prints nothing is told here.
ON_A_RUN = {
    "walkthrough": {"image/png", "text/html", "application/vnd.plotly.v1+json"},
    "comparing_encoders": {"text/html", "application/vnd.plotly.v1+json"},
}
ALONE = {"exploring_a_signal": {"text/html", "application/vnd.plotly.v1+json"}}


@pytest.fixture(params=sorted(path.stem for path in FOLDER.glob("*.ipynb")))
def notebook(request):
    return nbformat.read(FOLDER / f"{request.param}.ipynb", as_version=4)


def run(path):
    """Execute a notebook where it lies; return its code cells."""
    resources = {"metadata": {"path": str(path.parent)}}
    notebook = nbformat.read(path, as_version=4)
    done = NotebookClient(notebook, timeout=300, resources=resources).execute()
    return [cell for cell in done.cells if cell.cell_type == "code"]


def kinds_of(cells):
    return {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}


@pytest.mark.xdist_group("smoke")
@pytest.mark.parametrize("name", ON_A_RUN)
def test_it_runs_on_a_finished_run(name, smoke_project, monkeypatch):
    monkeypatch.setenv("KEDRO_ENV", "smoke")
    cells = run(smoke_project / "notebooks" / f"{name}.ipynb")
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert ON_A_RUN[name] <= kinds_of(cells)


@pytest.mark.parametrize("name", ALONE)
def test_it_runs_without_a_run(name, tmp_path):
    shutil.copy(FOLDER / f"{name}.ipynb", tmp_path)
    cells = run(tmp_path / f"{name}.ipynb")
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert ALONE[name] <= kinds_of(cells)
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.ipynb"]


def test_each_is_run_by_a_test():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == ON_A_RUN.keys() | ALONE.keys()


def test_it_defines_nothing(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            nodes = ast.walk(ast.parse(cell.source))
            assert not any(
                isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda) for node in nodes
            )


def test_it_is_kept_without_outputs(notebook):
    assert not any(cell.get("outputs") for cell in notebook.cells)
