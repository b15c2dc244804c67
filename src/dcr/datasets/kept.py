"""Kedro dataset for a YAML file of the configuration that a person keeps."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from kedro.io import AbstractDataset, DatasetError

from dcr.errors import UserError
from dcr.parameters.conf_files import read_mapping, shown

Content = TypeVar("Content")


class KeptFileDataset(AbstractDataset[object, Content], Generic[Content]):
    """A YAML file that a recipe's globals.yml names and a person keeps; read only.

    A subclass says under which key of globals.yml it is named, and checks what it holds.
    """

    KEY: ClassVar[str]
    """Of globals.yml."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Create a dataset of a file.

        Args:
            filepath: the YAML file.
            metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.
        """
        self._filepath = Path(filepath)
        self.metadata = metadata

    @abstractmethod
    def check(self, content: dict[str, Any], name: str) -> Content:
        """Return what the file says; raises UserError where it is not in order.

        Args:
            content: of the file.
            name: of the file, for messages.
        """

    def load(self) -> Content:
        """Return what the file says, checked."""
        return self.require()

    def require(self) -> Content:
        """Return what the file says; raises UserError if it is not there or not in order."""
        if not self._filepath.is_file():
            raise UserError(
                f"{shown(self._filepath)} does not exist: check `{self.KEY}` in the recipe's"
                " globals.yml"
            )
        return self.check(read_mapping(self._filepath), shown(self._filepath))

    def save(self, data: object) -> None:
        """Refuse ``data``: a person writes the file."""
        raise DatasetError(f"{shown(self._filepath)} is kept by hand")

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
