"""Kedro's configuration with one layer more: a recipe may extend another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf

from dcr.errors import UserError


class RecipeConfigLoader(OmegaConfigLoader):
    """Reads ``conf/base``, then the folder that the recipe's globals.yml names as ``extends``, then the recipe's own.

    Recipes that share most of their values, as all on photographs do, so repeat none of them.
    """

    def folders(self) -> list[Path]:
        """Return the recipe's folder, then the one that it extends, and so on; ``conf/base`` is not among them."""
        return _lineage(Path(self.conf_source) / (self.env or self.default_run_env))

    def _read_dir_configs(self, conf_path: str, *arguments: Any, **options: Any) -> dict[Path, Any]:
        """Return the files of the extended folder before the recipe's own; later ones win, key by key."""
        found: dict[Path, Any] = {}
        for folder in reversed(_lineage(Path(conf_path))):
            found |= super()._read_dir_configs(str(folder), *arguments, **options)
        return found


def _lineage(folder: Path) -> list[Path]:
    """Return a recipe's folder, the one it extends, the one that extends, and so on."""
    folders = [folder]
    while (parent := _extended(folders[-1])) is not None:
        if parent in folders:
            raise UserError(f"{folders[-1]}/globals.yml: extends {parent.name!r}, which extends this recipe in turn")
        folders.append(parent)
    return folders


def _extended(folder: Path) -> Path | None:
    path = folder / "globals.yml"
    name = OmegaConf.load(path).get("extends") if path.is_file() else None
    if name is None:
        return None
    parent = folder.parent / str(name)
    if not parent.is_dir() or parent == folder:
        raise UserError(f"{path}: extends {name!r}, but there is no other recipe of that name in {folder.parent}")
    return parent
