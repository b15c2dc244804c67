"""Fixtures shared by tests of the whole project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from browser import REQUIRED, Browser, find_browser, running_browser
from dcr.data.remote import RemoteSettings, use_settings
from project import copy_project, run
from remote_stores import serving, start_s3
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


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    """A browser, where one is installed."""
    binary = find_browser()
    if binary is None:
        assert REQUIRED not in os.environ, "no browser is installed: apt-get install chromium"
        pytest.skip("no browser is installed: apt-get install chromium")
    with running_browser(binary, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="session")
def s3_port() -> int:
    """The port of an S3 server on loopback, empty at first."""
    return start_s3()


@pytest.fixture
def remote_cache(tmp_path, monkeypatch) -> Path:
    """The folder in which this test's remote files are kept; requests are made again at once."""
    monkeypatch.setenv("DCR_REMOTE", "{}")  # as it was, afterwards
    monkeypatch.setattr("dcr.data.remote.opening.looked_up", {})
    folder = tmp_path / "remote_cache"
    use_settings(RemoteSettings(str(folder), 10**9, num_tries=40, first_wait_seconds=0.0))
    return folder


@pytest.fixture
def serve(request, monkeypatch, remote_cache):
    """Return a function that serves a folder, see `remote_stores.serving`."""
    with ExitStack() as stack:

        def start(kind, folder, seed=None):
            if kind == "gs":
                pytest.importorskip("gcsfs")
            port = request.getfixturevalue("s3_port") if kind == "s3" else None
            return stack.enter_context(serving(kind, folder, monkeypatch, port, seed))

        yield start
