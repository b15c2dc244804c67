"""Kedro dataset for a folder that a library writes and reads by its path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from kedro.io import AbstractDataset

from dcr.datasets.ownership import check_ours, owned_folder
from dcr.errors import UserError
from dcr.parameters.conf_files import shown

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")


class OwnedFolderDataset(AbstractDataset[Saved, Loaded], Generic[Saved, Loaded]):
    """What the datasets of a folder have in common that only this project may write to.

    Args:
        filepath: the folder.
        made_by: the command that makes it, told when it is missing; None if users bring it.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.
    """

    _advice = "name another folder in the recipe's globals.yml"

    def __init__(
        self, *, filepath: str, made_by: str | None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._made_by = made_by
        self.metadata = metadata

    def check_target(self) -> None:
        """Raise UserError if a save would destroy what this project did not make."""
        check_ours(self._filepath)

    def require(self) -> Path:
        """Return the folder's path, or name the command that makes it."""
        if not self._filepath.is_dir():
            advice = (
                f"make it with `{self._made_by}`"
                if self._made_by
                else f"put it there, or {self._advice}"
            )
            raise UserError(f"{shown(self._filepath)} does not exist; {advice}")
        return self._filepath

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class FolderDataset(OwnedFolderDataset[Callable[[Path], object], Path]):
    """A folder in an outside format, written whole or not at all, over what this project made.

    ``save`` takes a function that fills the empty folder it is given; ``load`` returns the folder's
    path.

    Args:
        filepath: the folder.
        made_by: the command that makes it, told when it is missing; None if users bring it.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        checkpoint:
          type: dcr.datasets.folders.FolderDataset
          filepath: data/06_models/demo/checkpoint
          made_by: kedro run --pipelines training

    Python example:
        >>> dataset = FolderDataset(filepath="words", made_by="...")
        >>> dataset.save(lambda folder: (folder / "a.txt").write_text("a"))
        >>> dataset.load()
        PosixPath('words')
    """

    def load(self) -> Path:
        return self.require()

    def save(self, data: Callable[[Path], object]) -> None:
        """Let ``data`` fill an empty folder, which then takes the place of the old one."""
        with owned_folder(self._filepath) as folder:
            data(folder)


class WorkingFolderDataset(AbstractDataset[None, Path]):
    """A folder that a node writes to while it runs, for a later run to go on from what it left.

    ``load`` returns the folder's path; nothing is saved through the catalog.

    Args:
        filepath: the folder; it need not exist.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        checkpoints:
          type: dcr.datasets.folders.WorkingFolderDataset
          filepath: data/06_models/demo/checkpoints

    Python example:
        >>> WorkingFolderDataset(filepath="data/06_models/demo/checkpoints").load()
        PosixPath('data/06_models/demo/checkpoints')
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        return self._filepath

    def save(self, data: None) -> None:
        """Refuse ``data``: the nodes write there themselves."""
        raise NotImplementedError(f"{self._filepath} is written by the nodes that load it")

    def _exists(self) -> bool:
        return True  # it is made when the first file is written

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
