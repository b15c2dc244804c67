"""The walkthrough runs from its first cell to its last on a finished run, and defines nothing
of its own.
"""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.xdist_group("smoke")

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "walkthrough.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_walkthrough_runs_on_a_finished_run(notebook, smoke_project, monkeypatch):
    monkeypatch.setenv("KEDRO_ENV", "smoke")
    resources = {"metadata": {"path": str(smoke_project / "notebooks")}}
    done = NotebookClient(nbformat.from_dict(notebook), timeout=300, resources=resources).execute()
    cells = [cell for cell in done.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html", "application/vnd.plotly.v1+json"} <= shown


def test_the_walkthrough_defines_nothing(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            nodes = ast.walk(ast.parse(cell.source))
            assert not any(
                isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda) for node in nodes
            )


def test_the_walkthrough_is_kept_without_outputs(notebook):
    assert not any(cell.get("outputs") for cell in notebook.cells)
