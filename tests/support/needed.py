"""What a test needs of a machine: without it the test is skipped, but not where it is asked for."""

import os

import pytest


def needs(found: bool, what: str) -> pytest.MarkDecorator:
    """Return a mark that skips tests on machines without something.

    Args:
        found: whether this machine has it.
        what: told as the reason. DCR_REQUIRE_CLUSTER, which `make test-deploy` sets, has such tests
            run, and fail, all the same.
    """
    asked = bool(os.environ.get("DCR_REQUIRE_CLUSTER"))
    return pytest.mark.skipif(not found and not asked, reason=f"needs {what}")
