"""Kedro dataset for a suite of expectations."""

from __future__ import annotations

from typing import Any

from dcr.datasets.kept import KeptFileDataset
from dcr.validation.expectations import check_suite


class SuiteDataset(KeptFileDataset[dict[str, Any]]):
    """A suite of Great Expectations: its name and its expectations.

    YAML example:

        expectation_suite:
          type: dcr.datasets.suites.SuiteDataset
          filepath: conf/base/expectations.yml

    Python example:
        >>> SuiteDataset(filepath="conf/base/expectations.yml").load()["name"]
    """

    KEY = "expectations"

    def check(self, content: dict[str, Any], name: str) -> dict[str, Any]:
        """Return the suite; raises UserError if it is not of a suite's shape."""
        check_suite(content, name)
        return content
