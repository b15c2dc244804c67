"""A Kedro session that runs the recipe's pipelines if none is named, and its models first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, SequentialRunner

from dcr.errors import UserError
from dcr.parameters import check_name
from dcr.ranks import read_ranks
from dcr.training.monitoring.trackers import TAKERS, check_trackers

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext

_LOG = logging.getLogger(__name__)

FIRST = "models"
"""The pipeline that the others wait for: without the weights none of their work is worth
starting.
"""

TRAINING = frozenset({"training", "selection"})
"""The pipelines that report to trackers, perhaps hours after the start of a run."""

HANDING_ON = frozenset({"export", "reporting"})
"""The pipelines that give what they made to those trackers that keep models and figures."""

RENDERING = "scenes"
"""The pipeline that writes over shards, evaluation sets and base models."""

SHARED_OUT = frozenset({"latents", "embedding"})
"""The pipelines whose processes each take a share of the work; in the others each would do, and
write, all of it.
"""


class RecipeRunner(SequentialRunner):
    """Runs nodes one after another, without Kedro's hints on other ways, which do not hold here."""

    def _run(self, *arguments: Any, **options: Any) -> None:
        AbstractRunner._run(self, *arguments, **options)

    def _suggest_resume_scenario(self, *arguments: Any, **options: Any) -> None:
        """Say nothing: the same command goes on from what is finished."""


class RecipeSession(KedroSession):
    """``KedroSession``, which without a pipeline's name runs those of the recipe's globals.yml.

    The demo's recipe starts by rendering its world; a recipe on real data must not. Kedro's
    registry does not know the recipe, so the session reads it. Pipeline `models` has no output that
    the others take, which would put it first; it therefore runs in a session of its own before
    theirs.

    Whatever folder it is started from, a run's working directory is the project's folder: a
    relative path in a recipe means the same file for Kedro, for the libraries that are handed it,
    and for the processes that they start.

    Args:
        conf_source: the folder with the recipes, None for ``conf`` of the project; archives and
            URLs are refused.
        session_id, kwargs: as ``KedroSession`` takes them.
    """

    _context: KedroContext | None = None

    def __init__(self, session_id: str, *, conf_source: str | None = None, **kwargs: Any) -> None:
        if conf_source is not None and not Path(conf_source).is_dir():
            raise UserError(
                f"--conf-source {conf_source} is not a folder: unpack or copy it first, a recipe"
                " that extends another is read from folders"
            )
        super().__init__(
            session_id, conf_source=conf_source and str(Path(conf_source).resolve()), **kwargs
        )

    def run(  # type: ignore[override]  # by keyword alone, as Kedro itself calls it
        self, pipeline_names: Iterable[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Run pipelines of the recipe.

        Args:
            pipeline_names: those to run, of the registry; None or none for those that the recipe
                lists.
            kwargs: as ``KedroSession.run`` takes them.

        Returns:
            as ``KedroSession.run``.

        Raises:
            UserError: a name is unknown, or the recipe, the runner or the environment does not
                allow the run.
        """
        with chdir(self._project_path):
            return self._run_here(pipeline_names, **kwargs)

    def _run_here(self, pipeline_names: Iterable[str] | None, **kwargs: Any) -> dict[str, Any]:
        check_runner(kwargs)
        listed = self.load_context().config_loader["globals"]["pipelines"]
        names = list(pipeline_names or [])
        names += [name] if (name := kwargs.pop("pipeline_name", None)) else []
        _check_pipelines(names, listed)
        names = names or listed
        check_ranks(names)
        _check_filters(names, kwargs)
        self._check_trackers(names)
        if FIRST in names and names != [FIRST]:
            names = [name for name in names if name != FIRST]
            session = self._another()
            with session:
                session.run(pipeline_names=[FIRST])
        return super().run(pipeline_names=names, **kwargs)

    def _check_trackers(self, names: Sequence[str]) -> None:
        """Look for the trackers that some of the pipelines report to, or hand their results."""
        parameters = self.load_context().config_loader["parameters"]
        report_to = parameters["training"]["monitoring"]["report_to"]
        if TRAINING.intersection(names):
            check_trackers(report_to, "training")
        elif HANDING_ON.intersection(names):
            check_trackers([name for name in report_to if name in TAKERS], "what is handed on")

    def load_context(self) -> KedroContext:
        """Return the context, which is made once."""
        if self._context is None:
            self._context = super().load_context()
        return self._context

    def _another(self) -> KedroSession:
        """Return a session of the same recipe and parameters."""
        return self.create(
            self._project_path,
            env=self.store.get("env"),
            runtime_params=self.store.get("runtime_params"),
            conf_source=self._conf_source,
        )


def check_runner(options: dict[str, Any]) -> None:
    """Put the project's runner in place of Kedro's default; refuse those that run in parallel."""
    runner = options.get("runner")
    if runner is not None and (not isinstance(runner, SequentialRunner) or runner._is_async):
        raise UserError(refusal(type(runner).__name__ if not runner._is_async else "--async"))
    if runner is None or type(runner) is SequentialRunner:
        options["runner"] = RecipeRunner()


def refusal(what: str) -> str:
    """Return why ``what``, a way to run nodes at the same time, is refused."""
    return (
        f"{what}: nodes run one after another here, because each takes the whole accelerator or all"
        " cores, and models are in memory once; leave it out, and share work by n_jobs,"
        " num_workers and num_processes of the parameters"
    )


def _check_pipelines(names: Sequence[str], listed: Sequence[str]) -> None:
    known = sorted(name for name in pipelines if name != "__default__")
    for name in listed:
        check_name("pipeline", name, known, "pipelines of the recipe's globals.yml:")
    for name in names:
        check_name("pipeline", name, known, "--pipelines")
    if RENDERING in names and RENDERING not in listed:
        raise UserError(
            f"--pipelines {RENDERING}: it renders the demo's world over the recipe's shards, sets"
            " and base models, and this recipe does not list it in `pipelines` of its globals.yml;"
            " leave it out"
        )


def check_ranks(names: Sequence[str]) -> None:
    """Refuse to do the same work in several processes."""
    ranks = read_ranks()
    if ranks is None or ranks[1] == 1:
        return
    if alone := [name for name in names if name not in SHARED_OUT]:
        raise UserError(
            f"pipeline {alone[0]} does not share its work among the {ranks[1]} processes of"
            " WORLD_SIZE, each would do all of it: run it without torchrun; training starts its"
            " own processes by training.processes.num_processes, and"
            f" {' and '.join(sorted(SHARED_OUT))} alone are for torchrun"
        )
    _LOG.info("this is process %d of %d by RANK and WORLD_SIZE, and does its share alone", *ranks)


def _check_filters(names: Sequence[str], options: dict[str, Any]) -> None:
    """Refuse names of nodes, tags, namespaces and datasets that the pipelines do not have."""
    whole = _add(pipelines[name] for name in names)
    if options.get("load_versions"):
        raise UserError(
            "--load-versions: no dataset here has versions, DVC keeps them; leave it out"
        )
    chosen = {}
    for key, (argument, option, kind, known) in _FILTERS.items():
        chosen[argument] = options.get(key)
        for name in options.get(key) or ():
            check_name(kind, name, sorted(known(whole)), option)
    try:
        whole.filter(**chosen)
    except ValueError as exc:
        raise UserError(
            f"{' '.join(str(exc).split()).removesuffix('.')}; pipelines: {', '.join(names)}"
        ) from exc


def _add(parts: Iterable[Pipeline]) -> Pipeline:
    """Return the sum of pipelines.

    Raises:
        UserError: two of them write the same dataset, or they need each other's results.
    """
    try:
        return sum(parts, Pipeline([]))
    except Exception as exc:
        if type(exc).__module__ != "kedro.pipeline.pipeline":
            raise
        raise UserError(f"--pipelines cannot run together: {' '.join(str(exc).split())}") from exc


def _nodes(whole: Pipeline) -> list[str]:
    return [node.name for node in whole.nodes]


def _tags(whole: Pipeline) -> set[str]:
    return {tag for node in whole.nodes for tag in node.tags}


def _namespaces(whole: Pipeline) -> set[str]:
    return {node.namespace for node in whole.nodes if node.namespace}


# Argument of KedroSession.run: that of Pipeline.filter, the option, what it names, which there are.
_FILTERS: dict[str, tuple[str, str, str, Callable[[Pipeline], Iterable[str]]]] = {
    "node_names": ("node_names", "--nodes", "node", _nodes),
    "from_nodes": ("from_nodes", "--from-nodes", "node", _nodes),
    "to_nodes": ("to_nodes", "--to-nodes", "node", _nodes),
    "from_inputs": ("from_inputs", "--from-inputs", "dataset", Pipeline.datasets),
    "to_outputs": ("to_outputs", "--to-outputs", "dataset", Pipeline.datasets),
    "tags": ("tags", "--tags", "tag", _tags),
    "namespaces": ("node_namespaces", "--namespaces", "namespace", _namespaces),
}
