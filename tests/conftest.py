"""Fixtures shared by tests of the whole project."""

from __future__ import annotations

from pathlib import Path

import pytest

from project import copy_project, run


@pytest.fixture(scope="session")
def smoke_project(tmp_path_factory) -> Path:
    """A copy of the project in which `kedro run --env smoke` has finished."""
    folder = copy_project(tmp_path_factory.mktemp("smoke") / "project")
    run("kedro", "run", "--env", "smoke", cwd=folder)
    return folder
