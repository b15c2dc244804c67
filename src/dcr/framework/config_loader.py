"""Kedro's configuration with one layer more: a recipe may extend another.

Its faults are told in a sentence.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf.errors import OmegaConfBaseException

from dcr.errors import UserError
from dcr.parameters import RecipeGlobals, check_globals
from dcr.parameters.conf_files import check_names, explain_file, explain_values, read_mapping, shown
from dcr.parameters.sources import check_one_of_both, with_sources

DEMO = "demo"
"""The recipe that the default environment, ``local``, runs and changes for one machine."""

GLOBALS = "globals.yml"
BASE = "base"


class RecipeConfigLoader(OmegaConfigLoader):
    """Reads ``conf/base``, then the folder that the recipe extends, then the recipe's own.

    The recipe's globals.yml names that folder as ``extends``. Recipes that share most of their
    values, as all on photographs do, so repeat none of them. The default environment extends the
    demo, unless it names a recipe of its own.
    """

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Return the merged configuration of a kind.

        Raises:
            UserError: a value refers to something that is not there.
        """
        # Kedro keeps one resolver of `globals` a process, the last loader's: without this, what is
        # read here after another recipe was opened would hold the other's values.
        self._register_globals_resolver()
        try:
            found = super().__getitem__(key)
            return with_sources(found) if key == "globals" else found
        except OmegaConfBaseException as exc:
            paths = [
                p
                for folder in [*self.folders(), self._base]
                for p in sorted(folder.glob(f"*{key}*.y*ml"))
            ]
            raise UserError(explain_values(key, paths, exc)) from exc

    def check_recipe(self) -> RecipeGlobals:
        """Return globals.yml as its class.

        Raises:
            UserError: a key is unknown, missing or of the wrong type, or the recipe does not say
                which one it is.
        """
        folder = self.folders()[0]
        if self._protocol != "file":  # an archive or a URL: nothing lies beside it
            return check_globals(self["globals"], f"{folder}/{GLOBALS}")
        own = read_mapping(folder / GLOBALS)
        if folder == self._base:
            raise UserError(
                f"{shown(folder)} is what all recipes share, not a recipe: leave out --env for the"
                " demo"
            )
        if "recipe" not in own:
            self._check_nameless(folder, own)
        checked = check_globals(self["globals"], shown(folder / GLOBALS))
        self._check_unique(checked.recipe)
        return checked

    def _check_nameless(self, folder: Path, own: dict[str, Any]) -> None:
        """Refuse a folder without a name, but for the default one, which is the demo's."""
        changed = [key for key in RecipeGlobals.DATA if key in own]
        if folder.name != self.default_run_env:
            raise UserError(
                f"{shown(folder / GLOBALS)} does not set `recipe`, the name that everything is"
                f" written under: give it one that no other recipe has, for example {folder.name}"
            )
        if changed:
            raise UserError(
                f"{shown(folder / GLOBALS)} sets {changed[0]} but not `recipe`, so it would write"
                " over the demo's data: give it a name, or move it into a recipe's folder of"
                " its own"
            )

    def _check_unique(self, name: str) -> None:
        """Refuse a name that another folder has, unless this recipe extends it.

        A recipe that extends it means its data.
        """
        folders = self.folders()
        meant = {
            folder for folder in folders if read_mapping(folder / GLOBALS).get("recipe") == name
        }
        for path in sorted(self._base.parent.glob(f"*/{GLOBALS}")):
            if path.parent in folders or path.parent.name == self.default_run_env:
                continue
            taken = read_mapping(path, broken={}).get("recipe")
            if str(taken).casefold() == name.casefold() and not meant.intersection(
                _lineage(path.parent)[1:]
            ):
                raise UserError(
                    f"{shown(folders[0] / GLOBALS)}: recipe is {name!r}, which is that of"
                    f" {shown(path.parent)}, so it would write over its data: choose another name,"
                    f" or say `extends: {path.parent.name}` to mean it"
                )

    @property
    def _base(self) -> Path:
        return Path(self._get_conf_env_path(self.base_env))

    def folders(self) -> list[Path]:
        """Return the recipe's folder, then the one that it extends, and so on.

        ``conf/base`` is not among them.
        """
        return self._with_demo(Path(self._get_conf_env_path(self.env or self.default_run_env)))

    def _with_demo(self, folder: Path) -> list[Path]:
        folders = _lineage(folder)
        demo = folder.parent / DEMO
        is_default = folder.name == self.default_run_env and len(folders) == 1
        extends_demo = (
            is_default and demo.is_dir() and "recipe" not in read_mapping(folder / GLOBALS)
        )
        return [*folders, demo] if extends_demo else folders

    def _is_hidden(self, path_str: str) -> bool:
        """Whether a file's name, or a folder's between it and ``conf``, begins with a dot.

        Kedro looks at where links lead: it would pass over a Kubernetes ConfigMap, whose files are
        links into a hidden folder, without a word.
        """
        if self._protocol != "file":
            return bool(super()._is_hidden(path_str))
        inside = Path(os.path.relpath(path_str, self.conf_source))
        return any(part.startswith(".") and part != ".." for part in inside.parts)

    def _read_dir_configs(self, conf_path: str, *arguments: Any, **options: Any) -> dict[Path, Any]:
        """Return the extended folders' files, then the recipe's own; later ones win, key by key."""
        found: dict[Path, Any] = {}
        for folder in reversed(self._with_demo(Path(conf_path))):
            try:
                own = super()._read_dir_configs(str(folder), *arguments, **options)
            except MissingConfigException as exc:
                raise UserError(
                    f"{shown(folder)} is not a folder with configuration: check --env and"
                    " --conf-source"
                ) from exc
            except Exception as exc:
                if (reason := explain_file(folder)) is None:
                    raise
                raise UserError(reason) from exc
            _take_place_of_shards(found, own)
            found |= own
            for path, content in found.items():
                check_names(path, content)
        return found


def _take_place_of_shards(extended: dict[Path, Any], own: dict[Path, Any]) -> None:
    """Let a recipe's ``sources`` take the place of the ``shards`` it would inherit, or the reverse.

    Args:
        extended: content of the files of recipes that it extends, which is changed.
        own: of its own files.
    """
    for path, content in own.items():
        if Path(path).name != GLOBALS or not content:
            continue
        check_one_of_both(content, shown(Path(path)))
        for key, other in (("sources", "shards"), ("shards", "sources")):
            if content.get(key) is not None:
                for inherited in extended.values():
                    if inherited and other in inherited:
                        del inherited[other]


def _lineage(folder: Path) -> list[Path]:
    """Return a recipe's folder, the one it extends, the one that extends, and so on."""
    folders = [folder]
    while (parent := _extended(folders[-1])) is not None:
        if parent in folders:
            raise UserError(
                f"{shown(folders[-1])}/globals.yml: extends {parent.name!r}, which extends this"
                " recipe in turn"
            )
        folders.append(parent)
    return folders


def _extended(folder: Path) -> Path | None:
    path = folder / GLOBALS
    name = read_mapping(path).get("extends")
    if name is None:
        return None
    parent = folder.parent / str(name)
    if (
        not parent.is_dir()
        or parent == folder
        or parent.parent != folder.parent
        or Path(str(name)).name != str(name)
    ):
        raise UserError(
            f"{shown(path)}: extends {name!r}, but there is no other recipe of that name in"
            f" {shown(folder.parent)}"
        )
    return parent
