"""Fixtures shared by tests of the whole project."""

from __future__ import annotations

from pathlib import Path

import pytest

from project import copy_project, run
from torture_options import Torture, counts


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture", action="store_true", help="run tests/torture whole instead of a sample of it"
    )
    parser.addoption(
        "--torture-seed", type=int, default=0, help="what the tests in tests/torture draw from"
    )


def pytest_terminal_summary(terminalreporter) -> None:
    """Tell how many kills, mutations, bombs, mistakes and faults were tried."""
    passed = counts([r for r in terminalreporter.getreports("passed") if r.when == "call"])
    if passed:
        terminalreporter.write_line(
            "torture: " + ", ".join(f"{n} {what}" for what, n in sorted(passed.items()))
        )


@pytest.fixture
def torture(request, record_property) -> Torture:
    """How hard the tests in tests/torture try; see `torture_options`."""
    option = request.config.getoption
    return Torture(option("--torture-seed"), option("--torture"), record_property)


@pytest.fixture(scope="session")
def smoke_project(tmp_path_factory) -> Path:
    """A copy of the project in which `kedro run --env smoke` has finished."""
    folder = copy_project(tmp_path_factory.mktemp("smoke") / "project")
    run("kedro", "run", "--env", "smoke", cwd=folder)
    return folder
