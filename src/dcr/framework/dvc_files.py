"""The files of a recipe as DVC follows them.

Data go by the catalog's paths, configuration by the keys that are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.project import settings

from dcr.data.sources import LOCAL
from dcr.framework.config_loader import DEMO, RecipeConfigLoader

_SOURCES = ("backbone", "diffusion", "more_encoders")  # entries that may name a model of the hub
# The user's own.
_DATA = ("shards", "mmvp_vlm", "classification", "retrieval", "more_sets", "params:ingest")
_GLOBAL = re.compile(r"\$\{globals:\s*(\w+)")
_MARKS = re.compile(r"[*?\[{]")


def local_path(place: Any) -> str | None:
    """Return the file or folder that DVC can follow for a ``place`` of the catalog.

    It is a pattern's folder, and None for a URL. What may name a model of the hub as well is taken
    for a path.
    """
    if not isinstance(place, str) or "://" in place:
        return None
    path = place.removeprefix(LOCAL)
    if _MARKS.search(path):
        path = str(Path(_MARKS.split(path)[0] + "x").parent)
    return path


def data_paths(entry: dict[str, Any]) -> list[str]:
    """Return the local paths of an ``entry`` of the catalog."""
    places: list[Any] = []
    for key in ("filepath", "path", "source"):
        places += entry[key] if isinstance(entry.get(key), list) else [entry.get(key)]
    places += [item.get("path") for item in entry.get("sets", []) if not _is_a_task(item)]
    sources = entry.get("sources", {})
    places += (
        [source["expectations"] for source in sources]
        if isinstance(sources, list)
        else list(sources.values())
    )
    return [path for place in places if (path := local_path(place)) is not None]


def _is_a_task(item: dict[str, str]) -> bool:
    """Tell whether a set is a task of mteb by its name alone, which lies in the hub's cache."""
    return item.get("kind") == "mieb" and "/" not in item.get("path", "")


class Recipe:
    """A recipe's configuration, resolved, and the files that it was read from.

    Args:
        env: the recipe's folder in ``conf_source``.
        conf_source: the folder with the recipes.
        project: the folder that paths are relative to.
        runtime_params: as ``--params`` gives them.
    """

    def __init__(
        self,
        env: str,
        conf_source: str,
        project: Path,
        runtime_params: dict[str, Any] | None = None,
    ) -> None:
        loader = RecipeConfigLoader(conf_source, env, runtime_params, **settings.CONFIG_LOADER_ARGS)
        self.env = env
        self.project = project
        conf = Path(conf_source)
        self.absent: set[str] = set()
        self.catalog = {
            name: e for name, e in loader["catalog"].items() if not name.startswith("_")
        }
        self.parameters = loader["parameters"]
        self.pipelines = list(loader["globals"]["pipelines"])
        # Of these folders a stage depends on what it reads, of the recipe's own on all.
        shared = [conf / settings.CONFIG_LOADER_ARGS["base_env"]]
        shared += [folder for folder in loader.folders() if folder == conf / DEMO]
        self.folders = [
            self._relative(folder) for folder in loader.folders() if folder not in shared
        ]
        files = [path for folder in shared for path in sorted(folder.glob("*.yml"))]
        self._texts = {path: path.read_text(encoding="utf-8") for path in files}
        self._keys = {path: yaml.safe_load(text) or {} for path, text in self._texts.items()}

    def is_written(self, name: str) -> bool:
        """Tell whether a run writes the entry ``name``, which some recipes do not fill."""
        evaluation = self.parameters["evaluation"]
        kinds = {*evaluation["sets"], *(item["kind"] for item in self.catalog["more_sets"]["sets"])}
        if name == "diva_results":
            return bool(evaluation["diva_results"])
        return name != "mmvp_answers" or "mmvp_vlm" in kinds

    def modules(self, name: str) -> set[str]:
        """Return the modules of the dataset classes of the entry ``name``.

        They are ours: that of its type, and that of its partitions.
        """
        entry = self.catalog.get(name, {})
        inner = entry.get("dataset", {})
        kinds = [entry.get("type", ""), inner if isinstance(inner, str) else inner.get("type", "")]
        return {kind.rpartition(".")[0] for kind in kinds if kind.startswith("dcr.")}

    def inputs(self, name: str, made: set[str]) -> Iterator[str]:
        """Yield the paths of input ``name`` that an earlier stage ``made``, and the user's own.

        The user's data that are not there are noted in ``absent``: DVC runs no stage that depends
        on them.
        """
        for path in self._places(name):
            known = path in made or any(Path(one).is_relative_to(path) for one in made)
            if known or (self.project / path).exists():
                yield path
            elif name in _SOURCES:  # a model of the hub: what `models` recorded of it
                yield from made.intersection(data_paths(self.catalog["models"]))
            elif name in _DATA:
                self.absent.add(path)

    def _places(self, name: str) -> list[str]:
        if name == "params:ingest":
            ingest = self.parameters["ingest"]
            return [path for path in (ingest["images"], ingest["table"]) if path]
        if name == "params:training" and (
            projector := self.parameters["training"]["stage1"]["projector_file"]
        ):
            return [projector]
        if name == "params:validation" and (
            self.parameters["validation"]["tokenizer"] == "backbone"
        ):
            return data_paths(self.catalog["backbone"])
        return data_paths(self.catalog.get(name, {}))

    def tracked(self, read: Iterable[str], written: Iterable[str]) -> list[dict[str, list[str]]]:
        """Return DVC's ``params`` for a stage, by file.

        They are sections of parameters, entries of the catalog, and globals.

        Args:
            read, written: the datasets that the stage loads and saves; ``params:<section>`` among
                those that it loads.
        """
        sections = {
            name.removeprefix("params:").split(".")[0]
            for name in read
            if name.startswith("params:")
        }
        if "parameters" in read:
            sections |= self.parameters.keys()
        found: dict[Path, set[str]] = {}
        for path, keys in self._keys.items():
            wanted = sections if path.name.startswith("parameters") else {*read, *written}
            if path.name.startswith(("parameters", "catalog")) and (hits := keys.keys() & wanted):
                found[path] = hits
        globals_read = {
            name
            for path, keys in found.items()
            for key in keys
            for name in _GLOBAL.findall(yaml.safe_dump(self._keys[path][key], width=1000))
        }
        if "sources" in globals_read:  # which plain shards are one of, with the recipe's suite
            globals_read |= {"shards", "expectations"}
        for path, keys in self._keys.items():
            if path.name == "globals.yml" and (hits := keys.keys() & globals_read):
                found[path] = hits
        return [{self._relative(path): sorted(keys)} for path, keys in sorted(found.items())]

    def _relative(self, path: Path) -> str:
        return (
            path.relative_to(self.project).as_posix()
            if path.is_relative_to(self.project)
            else str(path)
        )
