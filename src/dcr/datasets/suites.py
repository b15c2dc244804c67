"""Kedro dataset for a suite of expectations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from dcr.errors import UserError
from dcr.parameters.conf_files import read_mapping, shown
from dcr.validation.expectations import check_suite


class SuiteDataset(AbstractDataset[dict[str, Any], dict[str, Any]]):
    """A suite of Great Expectations that a person keeps, in YAML; read only.

    YAML example:

        expectation_suite:
          type: dcr.datasets.suites.SuiteDataset
          filepath: conf/base/expectations.yml

    Python example:
        >>> SuiteDataset(filepath="conf/base/expectations.yml").load()["name"]
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Create a dataset of a suite.

        Args:
            filepath: the YAML file.
            metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.
        """
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        """Return the suite's name and its expectations."""
        return self.require()

    def require(self) -> dict[str, Any]:
        """Return the suite; raises UserError if it is not there or not of a suite's shape."""
        if not self._filepath.is_file():
            raise UserError(
                f"{shown(self._filepath)} does not exist: check `expectations` in the recipe's"
                " globals.yml"
            )
        suite = read_mapping(self._filepath)
        check_suite(suite, shown(self._filepath))
        return suite

    def save(self, data: dict[str, Any]) -> None:
        """Refuse ``data``: a person writes suites."""
        raise DatasetError("a suite of expectations is kept by hand")

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
