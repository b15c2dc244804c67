"""Kedro dataset for the suites of expectations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

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


class SuitesDataset(AbstractDataset[object, dict[str, dict[str, Any]]]):
    """The suite of each source, by the source's name; read only.

    YAML example:

        expectation_suites:
          type: dcr.datasets.suites.SuitesDataset
          sources: [{name: cc3m, shards: data/cc3m, weight: 1, expectations: conf/mine/cc3m.yml}]

    Python example:
        >>> sources = [{"name": "cc3m", "expectations": "conf/base/expectations.yml"}]
        >>> SuitesDataset(sources=sources).load()["cc3m"]["name"]
    """

    def __init__(
        self, *, sources: list[dict[str, Any]], metadata: dict[str, Any] | None = None
    ) -> None:
        """Create a dataset of suites.

        Args:
            sources: as globals.yml has them; ``name`` and ``expectations`` are read.
            metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.
        """
        self._suites = {
            source["name"]: SuiteDataset(filepath=source["expectations"]) for source in sources
        }
        self._files = {source["name"]: Path(source["expectations"]) for source in sources}
        self.metadata = metadata

    def load(self) -> dict[str, dict[str, Any]]:
        """Return each source's suite."""
        return self.require()

    def require(self) -> dict[str, dict[str, Any]]:
        """Return each source's suite; raises UserError if one is not there or not in order."""
        return {name: suite.require() for name, suite in self._suites.items()}

    def save(self, data: object) -> None:
        """Refuse ``data``: a person writes suites."""
        raise DatasetError("suites of expectations are kept by hand")

    def _exists(self) -> bool:
        return all(path.is_file() for path in self._files.values())

    def _describe(self) -> dict[str, Any]:
        return {"sources": {name: str(path) for name, path in self._files.items()}}
