"""A Kedro hook that copies what a run made for others to a store, once the run has ended well."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kedro.framework.hooks import hook_impl

from dcr.data.remote import Folder
from dcr.framework.run_hooks import local_paths
from dcr.locks import LOCK
from dcr.ranks import read_ranks

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline

_KEY = "remote.publish_to"
_PAGES = "08_reporting"
_ENCODER = "encoder"
_log = logging.getLogger(__name__)


class ResultsAreCopied:
    """Copies pages, scores and the encoder folder to `remote.publish_to`, if the recipe names it.

    They keep their names: ``<publish_to>/08_reporting/<recipe>/report.html``.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Note where the recipe's folders are, from the project's path in ``context``."""
        self._data = context.project_path / "data"

    @hook_impl
    def before_pipeline_run(self, catalog: DataCatalog) -> None:
        """Look at the address in the parameters of ``catalog`` before anything runs.

        Raises:
            UserError: nothing can be written there.
        """
        url = catalog.load("params:remote").publish_to
        self._target = Folder(url, _KEY) if url else None

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Copy what the ``pipeline`` wrote, as ``catalog`` says where.

        Raises:
            UserError: it cannot be copied; here it is whole.
        """
        if self._target is None or (read_ranks() or (0, 1))[0] != 0:
            return
        files = sorted(set(self._written(pipeline, catalog)))
        for file in files:
            self._target.send(file, file.relative_to(self._data).as_posix())
        if files:
            _log.info("%d files of results are copied to %s", len(files), self._target)

    def _written(self, pipeline: Pipeline, catalog: DataCatalog) -> Iterator[Path]:
        for name, path in local_paths(pipeline.all_outputs(), catalog).items():
            is_result = name == _ENCODER or path.is_relative_to(self._data / _PAGES)
            if is_result and path.is_relative_to(self._data):
                found = path.rglob("*") if path.is_dir() else [path]
                yield from (file for file in found if file.is_file() and file.name != LOCK)
