"""What the slow tests of the cluster kit share."""

import shutil
from pathlib import Path

import pytest

from two_host_recipe import finish_on_one_host, write_project


@pytest.fixture(scope="session")
def two_host_project(tmp_path_factory) -> Path:
    """A project whose recipe two hosts share; nothing of it has run."""
    return write_project(tmp_path_factory.mktemp("two_hosts") / "project")


@pytest.fixture(scope="session")
def finished(two_host_project, tmp_path_factory) -> Path:
    """The same project after all steps on one host."""
    folder = tmp_path_factory.mktemp("one_host") / "project"
    return finish_on_one_host(shutil.copytree(two_host_project, folder))
