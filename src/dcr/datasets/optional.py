"""Kedro dataset for a file that an earlier run may have left, or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError


class OptionalFileDataset(AbstractDataset[object, Any]):
    """A file by another dataset, or None where there is none; read only.

    YAML example:

        own_scores:
          type: dcr.datasets.optional.OptionalFileDataset
          filepath: data/08_reporting/demo/scores.json
          dataset: json.JSONDataset

    Python example:
        >>> OptionalFileDataset(filepath="nowhere.json", dataset="json.JSONDataset").load()
    """

    def __init__(
        self, *, filepath: str, dataset: str, metadata: dict[str, Any] | None = None
    ) -> None:
        """Create a dataset of a file.

        Args:
            filepath: of the file.
            dataset: the type of the dataset that reads it.
            metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.
        """
        self._filepath = Path(filepath)
        self._dataset = AbstractDataset.from_config(
            "file", {"type": dataset, "filepath": str(filepath)}
        )
        self.metadata = metadata

    def load(self) -> Any:
        """Return what the file holds, None where it is not there."""
        return self._dataset.load() if self._filepath.is_file() else None

    def save(self, data: object) -> None:
        """Refuse ``data``: who makes the file has an entry of its own."""
        raise DatasetError("an optional file is read, and written under another entry")

    def _exists(self) -> bool:
        return True  # absence is one of its values

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "dataset": type(self._dataset).__name__}
