"""A Kedro session that runs the recipe's own pipelines when none is named, and its models before all others."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import chdir
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession

from dcr.errors import UserError
from dcr.training.trackers import check_trackers

FIRST = "models"
"""The pipeline that the others wait for: without the weights none of their work is worth starting."""

TRAINING = "training"
"""The pipeline that reports to trackers, perhaps hours after the start of a run."""


class RecipeSession(KedroSession):
    """As ``KedroSession``; without a pipeline's name it runs those listed in the recipe's globals.yml.

    The demo's recipe starts by rendering its world; a recipe on real data must not. Kedro's registry does not know
    the recipe, so the session reads it. Pipeline `models` has no output that the others take, which would put it
    first; it therefore runs in a session of its own before theirs.

    Whatever folder it is started from, a run's working directory is the project's folder: a relative path in a recipe
    means the same file for Kedro, for the libraries that are handed it, and for the processes that they start.
    """

    def __init__(self, *args: Any, conf_source: str | None = None, **kwargs: Any) -> None:
        if conf_source is not None and not Path(conf_source).is_dir():
            raise UserError(
                f"--conf-source {conf_source} is not a folder: unpack or copy it first, a recipe that extends another "
                "is read from folders"
            )
        super().__init__(*args, conf_source=conf_source and str(Path(conf_source).resolve()), **kwargs)

    def run(self, pipeline_names: Iterable[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        with chdir(self._project_path):
            return self._run_here(pipeline_names, **kwargs)

    def _run_here(self, pipeline_names: Iterable[str] | None, **kwargs: Any) -> dict[str, Any]:
        if not pipeline_names and not kwargs.get("pipeline_name"):
            pipeline_names = self.load_context().config_loader["globals"]["pipelines"]
        names = list(pipeline_names or [])
        if TRAINING in names:
            check_trackers(self.load_context().config_loader["parameters"]["training"]["report_to"])
        if FIRST in names and names != [FIRST]:
            names.remove(FIRST)
            with self._another() as session:
                session.run([FIRST])
        return super().run(pipeline_names=names or None, **kwargs)

    def _another(self) -> RecipeSession:
        """Return a session of the same recipe and parameters."""
        return self.create(
            self._project_path, env=self.store.get("env"), runtime_params=self.store.get("runtime_params"),
            conf_source=self._conf_source,
        )  # fmt: skip
