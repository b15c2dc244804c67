"""Kedro hooks about the places that a run writes to.

They are ours, no other run uses them, and nothing stale seems new.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from dcr.datasets.folders import WorkingFolderDataset
from dcr.errors import UserError
from dcr.locks import lock, release_all
from dcr.replacing import follow_links, recover

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline

_MAGIC = "*?[{"
_NAMED = (
    "shards",
    "expectations",
    "published",
    "backbone",
    "diffusion",
    "mmvp_vlm",
    "classification",
    "retrieval",
)


class OutputsAreOurs:
    """Refuses a run that would write over what the user has, before any of its work.

    Datasets that replace a whole folder tell by `check_target` whether this project made all that
    is in it. All others write into ``data/<layer>/<recipe>/`` under names of their own, where no
    input of the recipe may lie.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Note the paths that the recipe names in the globals.yml that ``context`` reads."""
        self._given = list(_given_paths(context.config_loader["globals"], context.project_path))

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Ask every dataset of ``catalog`` that the ``pipeline`` writes.

        Raises:
            UserError: naming the path.
        """
        for name in sorted(pipeline.all_outputs() & set(catalog.keys())):
            if hasattr(dataset := catalog[name], "check_target"):
                dataset.check_target()
        for name, path in _written(pipeline, catalog):
            for key, given in self._given:
                if name not in key.split(":") and _clash(path, given):
                    raise UserError(
                        f"{key} is {given}, which this run would write over as `{name}` ({path}):"
                        " move it out of the folders that the recipe writes, and name the new path"
                    )


class OneRunAtATime:
    """Locks what a run writes against all others, and what it reads against those that write.

    One lock stands for a layer of a recipe, ``data/<layer>/<recipe>/``, and for any other folder
    that an output lies in. Processes that share the work of a pipeline share its locks. Who has
    them finishes what a kill left half done.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Note where the recipe's folders are, from the project's path in ``context``."""
        self._data = context.project_path / "data"

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Lock the folders of ``catalog`` that ``pipeline`` uses, always in the same order.

        Raises:
            UserError: naming a folder that another run uses.
        """
        release_all()  # those of a run that was interrupted in this process
        written = {
            _layer(path, self._data) or path.parent.resolve()
            for _, path in _written(pipeline, catalog)
        }
        read = _layers(pipeline.inputs(), catalog, self._data) - written
        for folder in sorted(written | read):
            lock(folder, shared=folder in read or _is_shared(pipeline, catalog))
        for path in local_paths(pipeline.datasets(), catalog).values():
            recover(follow_links(path))

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Give the locks back."""
        release_all()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Give the locks back."""
        release_all()


@contextmanager
def held_for_reading(names: set[str], catalog: DataCatalog, project: Path) -> Iterator[None]:
    """Keep runs from writing where datasets lie while the block reads them.

    Args:
        names: of the datasets.
        catalog: that has them.
        project: its folder, which is the working directory.

    Raises:
        UserError: a run writes there now.
    """
    try:
        for folder in sorted(_layers(names, catalog, project / "data")):
            lock(folder, shared=True)
        for path in local_paths(names, catalog).values():
            recover(follow_links(path))
        yield
    finally:
        release_all()


class NothingStale:
    """Withdraws what holds only as long as its sources, once a run begins to make those anew.

    The manifest lets data pass that validation has judged: where a later validation fails or is
    cut, none may stand.
    """

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Remove datasets of ``catalog`` that `withdraw` and that ``pipeline`` makes anew.

        It does so by writing them, or what they are made from.
        """
        makers = [maker for name, maker in pipelines.items() if name != "__default__"]
        for maker in (maker for maker in makers if maker.all_outputs() & pipeline.all_outputs()):
            for name in (name for name in maker.outputs() if name in catalog):
                dataset = catalog[name]
                is_made_anew = maker.to_outputs(name).all_outputs() & pipeline.all_outputs()
                if is_made_anew and hasattr(dataset, "withdraw"):
                    dataset.withdraw()


def _given_paths(recipe: Mapping[str, Any], project: Path) -> Iterator[tuple[str, Path]]:
    """Yield (key in globals.yml, absolute path) of every input of the recipe that is here."""
    for name in _NAMED:
        values = recipe.get(name) or []
        for value in values if isinstance(values, list) else [values]:
            yield from _local(name, value, project)
    for source in recipe.get("sources") or []:
        yield from _local("expectations", source["expectations"], project)
    for entry in recipe.get("more_sets") or []:
        if "path" in entry:  # what an entry lacks, its dataset tells
            yield from _local(f"more_sets:{entry.get('name')}", entry["path"], project)
    for name, source in (recipe.get("more_encoders") or {}).items():
        yield from _local(f"more_encoders:{name}", source, project)


def _local(key: str, value: Any, project: Path) -> Iterator[tuple[str, Path]]:
    text = str(value).removeprefix("local-dir:")
    fixed = text[: min((text.index(mark) for mark in _MAGIC if mark in text), default=len(text))]
    path = project / text
    if fixed != text and not path.exists():
        path = project / os.path.dirname(fixed)
    weights = project / text.partition("/")[2]  # of <open_clip model>/<file>
    if "://" not in text and (path.exists() or weights.is_file()):
        yield key, path if path.exists() else weights


def _clash(output: Path, given: Path) -> bool:
    """Return whether writing an output destroys something given.

    It does if it is that, holds it, or lies beside others in it.
    """
    output = follow_links(output)
    given = follow_links(given)
    return (
        output == given
        or given.is_relative_to(output)
        or (output.parent == given and given.is_dir())
    )


def _written(pipeline: Pipeline, catalog: DataCatalog) -> Iterator[tuple[str, Path]]:
    """Yield (dataset, path) of all that a run writes, nodes' folders included."""
    working = {
        name for name in pipeline.inputs() if isinstance(catalog.get(name), WorkingFolderDataset)
    }
    yield from local_paths(pipeline.all_outputs() | working, catalog).items()


def _layers(names: set[str], catalog: DataCatalog, data: Path) -> set[Path]:
    """Return the folders ``data/<layer>/<recipe>`` that datasets lie in."""
    paths = local_paths(names, catalog).values()
    return {layer for path in paths if (layer := _layer(path, data))}


def _layer(path: Path, data: Path) -> Path | None:
    """Return ``data/<layer>/<recipe>`` if a path lies in it."""
    parts = path.relative_to(data).parts if path.is_relative_to(data) else ()
    return data.joinpath(*parts[:2]).resolve() if len(parts) > 2 else None


def local_paths(names: set[str], catalog: DataCatalog) -> dict[str, Path]:
    """Return where datasets lie that lie on a local disk.

    Args:
        names: of datasets; those that ``catalog`` lacks are passed over.
        catalog: that has them.
    """
    found = {}
    for name in sorted(names):
        dataset = catalog.get(name) if name in catalog else None
        values = (
            getattr(dataset, attribute, None) for attribute in ("_filepath", "_path", "_source")
        )
        text = next((str(value) for value in values if isinstance(value, str | os.PathLike)), "")
        text = text.removeprefix("local-dir:")
        if text and "://" not in text and not any(mark in text for mark in _MAGIC):
            found[name] = Path(text).absolute()
    return found


def _is_shared(pipeline: Pipeline, catalog: DataCatalog) -> bool:
    """Return whether other processes do a part of the work.

    They are torchrun's, or those that the parameters count.
    """
    sections = [catalog.load(name) for name in pipeline.inputs() if name.startswith("params:")]
    counts = [getattr(section, "num_ranks", 1) for section in sections]
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1") or any(count > 1 for count in counts)
