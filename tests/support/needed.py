"""What a test needs of a machine: without it the test is skipped, but not where it is asked for."""

import os

import pytest


def need(found: bool, what: str) -> None:
    """Skip the test that runs on a machine without something.

    Call it in a fixture: whether a machine has a thing may take a trial, which nobody wants made
    when tests are collected.

    Args:
        found: whether this machine has it.
        what: told as the reason. DCR_REQUIRE_CLUSTER, which `make test-deploy` sets, has such tests
            run, and fail, all the same.
    """
    if not found and not os.environ.get("DCR_REQUIRE_CLUSTER"):
        pytest.skip(f"needs {what}")
