"""Kedro dataset for what papers state."""

from __future__ import annotations

from typing import Any

from dcr.datasets.kept import KeptFileDataset
from dcr.published.tables import PublishedTables, check_tables


class PublishedTablesDataset(KeptFileDataset[PublishedTables]):
    """Published numbers with their sources.

    YAML example:

        published_tables:
          type: dcr.datasets.published.PublishedTablesDataset
          filepath: conf/base/published.yml

    Python example:
        >>> PublishedTablesDataset(filepath="conf/base/published.yml").load().tables[0].metric
    """

    KEY = "published"

    def check(self, content: dict[str, Any], name: str) -> PublishedTables:
        """Return the tables; raises UserError if one is not in order."""
        return check_tables(content, name)
