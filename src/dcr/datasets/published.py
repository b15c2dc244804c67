"""Kedro dataset for what papers state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from dcr.errors import UserError
from dcr.parameters.conf_files import read_mapping, shown
from dcr.published.tables import PublishedTables, check_tables


class PublishedTablesDataset(AbstractDataset[object, PublishedTables]):
    """Published numbers with their sources, in a YAML file that a person keeps; read only.

    YAML example:

        published_tables:
          type: dcr.datasets.published.PublishedTablesDataset
          filepath: conf/base/published.yml

    Python example:
        >>> PublishedTablesDataset(filepath="conf/base/published.yml").load().tables[0].metric
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Create a dataset of published tables.

        Args:
            filepath: the YAML file.
            metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.
        """
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> PublishedTables:
        """Return the tables, checked."""
        return self.require()

    def require(self) -> PublishedTables:
        """Return the tables; raises UserError if the file is not there or not in order."""
        if not self._filepath.is_file():
            raise UserError(
                f"{shown(self._filepath)} does not exist: check `published` in the recipe's"
                " globals.yml"
            )
        return check_tables(read_mapping(self._filepath), shown(self._filepath))

    def save(self, data: object) -> None:
        """Refuse ``data``: a person keeps what papers state."""
        raise DatasetError("published tables are kept by hand")

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
