"""Kedro datasets that tell a step what an earlier run left, so that it need not do the same again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from dcr.files import sha256_folder


class PreviousRecordDataset(AbstractDataset):
    """The JSON object that the last run wrote, or ``{}`` where there is none that can be read.

    Read-only: the record itself is written through another catalog entry of the same path.

    YAML example:

        previous_base_models:
          type: dcr.datasets.records.PreviousRecordDataset
          filepath: data/06_models/demo/base/base_models.json
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath, self.metadata = Path(filepath), metadata

    def load(self) -> dict[str, Any]:
        try:
            record = json.loads(self._filepath.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it is about to be made again
            return {}
        return record if isinstance(record, dict) else {}

    def save(self, data: dict[str, Any]) -> None:
        raise DatasetError("a previous record is read-only: save it through the catalog entry of the record itself")

    def _exists(self) -> bool:
        return True  # absence is one of its values

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class FolderHashesDataset(AbstractDataset):
    """What lies in some folders at the moment of loading: ``{name: sha256}``, None for a folder that is missing.

    YAML example:

        base_model_hashes:
          type: dcr.datasets.records.FolderHashesDataset
          folders:
            clip: data/06_models/demo/base/clip
    """

    def __init__(self, *, folders: dict[str, str], metadata: dict[str, Any] | None = None) -> None:
        self._folders, self.metadata = {name: Path(path) for name, path in folders.items()}, metadata

    def load(self) -> dict[str, str | None]:
        return {name: sha256_folder(path) if path.is_dir() else None for name, path in self._folders.items()}

    def save(self, data: dict[str, str | None]) -> None:
        raise DatasetError("hashes are computed from the folders and cannot be saved")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"folders": {name: str(path) for name, path in self._folders.items()}}
