"""Kedro datasets that tell a step what an earlier run left, to spare it doing the same again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from dcr.files import atomic_path, sha256_folder


class RecordDataset(AbstractDataset[dict[str, Any], dict[str, Any]]):
    """A JSON object in a file, written whole or not at all; ``{}`` where none can be read.

    Two entries over one path let a step read what its last run left.

    Args:
        filepath: the JSON file, UTF-8.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        base_models:
          type: dcr.datasets.records.RecordDataset
          filepath: data/06_models/demo/base/base_models.json
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        try:
            record = json.loads(self._filepath.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # what cannot be read is made again
            return {}
        return record if isinstance(record, dict) else {}

    def save(self, data: dict[str, Any]) -> None:
        """Write the object ``data`` as JSON."""
        with atomic_path(self._filepath) as path:
            path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")

    def _exists(self) -> bool:
        return True  # absence is one of its values

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class FolderHashesDataset(AbstractDataset[dict[str, str | None], dict[str, str | None]]):
    """What lies in some folders at the time of loading: ``{name: sha256}``, None where missing.

    A list of places, or nothing, may stand where a folder is due, as a recipe may name its shards
    so: None, too.

    Args:
        folders: by name, the folder to hash.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        base_model_hashes:
          type: dcr.datasets.records.FolderHashesDataset
          folders:
            clip: data/06_models/demo/base/clip
    """

    def __init__(
        self, *, folders: dict[str, str | list[str] | None], metadata: dict[str, Any] | None = None
    ) -> None:
        self._folders = folders
        self.metadata = metadata

    def load(self) -> dict[str, str | None]:
        return {name: _hash(path) for name, path in self._folders.items()}

    def save(self, data: dict[str, str | None]) -> None:
        """Refuse ``data``: hashes follow from the folders."""
        raise DatasetError("hashes are computed from the folders and cannot be saved")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"folders": self._folders}


def _hash(path: str | list[str] | None) -> str | None:
    return sha256_folder(path) if isinstance(path, str) and Path(path).is_dir() else None
