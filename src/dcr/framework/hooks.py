"""Kedro hooks: recipe and inputs are checked before anything runs, nodes get typed parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from dcr import faults
from dcr.data.remote import use_settings
from dcr.datasets.benchmark_sets import BenchmarkSetDataset
from dcr.datasets.shards import ShardsDataset
from dcr.errors import UserError
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.parameters import (
    RecipeParameters,
    RemoteParameters,
    build_parameters,
)

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node


class TypedParameters:
    """Refuses unknown, missing or wrongly typed parameters, also of pipelines that do not run.

    Kedro's own validation reads the type hints of nodes, which it cannot where they name a type
    that is imported for type checking alone, as ours do to keep heavy libraries out of start-up.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check the recipe's identity and build every section of what ``context`` loads.

        Remote files are read by its section `remote` from here on.

        Raises:
            UserError: naming the key.
        """
        if isinstance(context.config_loader, RecipeConfigLoader):
            context.config_loader.check_recipe()
        self._sections = build_parameters(context.config_loader["parameters"])
        remote = self._sections["remote"]
        assert isinstance(remote, RemoteParameters)
        use_settings(remote.settings(context.project_path))

    @hook_impl
    def after_catalog_created(self, catalog: DataCatalog) -> None:
        """Put the sections in the ``catalog`` as ``params:<section>``.

        The recipe's comes with the licence that is known now.
        """
        known = catalog.get("previous_models")
        recipe = self._sections["recipe"]
        assert isinstance(recipe, RecipeParameters)
        recipe = recipe.with_licence(known.load() if known else {})
        for name, section in (self._sections | {"recipe": recipe}).items():
            catalog[f"params:{name}"] = section


class CatalogIsWhole:
    """Makes every dataset of a run from its entry before anything runs, not when it is needed."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Make every dataset of the ``pipeline`` by the ``catalog``.

        Raises:
            UserError: naming the entry.
        """
        for name in sorted(pipeline.datasets()):
            try:
                catalog.get(name)
            except UserError:
                raise
            except Exception as exc:
                reason = (
                    faults.explain(exc.__cause__ or exc)
                    or faults.first_sentence(str(exc))
                    or type(exc).__name__
                )
                raise UserError(
                    f"catalog entry {name!r}: {reason}; see conf/base/catalog_*.yml"
                ) from exc


class InputsExist:
    """Names the pipeline that makes a missing input, before hours are spent on earlier steps.

    Evaluation sets and shards tell it when they are opened: a recipe may evaluate some of its sets
    only, and shards may be a pattern or lie at a URL.
    """

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Look for every input that this run does not make itself.

        Args:
            run_params: what the run was started with; its ``env`` stands in the advice.
            pipeline, catalog: what is to run, and where its inputs lie.

        Raises:
            UserError: an input is missing; names the command that makes it.
        """
        recipe = _option(run_params)
        for name in sorted(pipeline.inputs()):
            dataset = catalog[name]
            if isinstance(dataset, BenchmarkSetDataset | ShardsDataset):
                continue
            if hasattr(dataset, "require"):
                dataset.require()
            elif not dataset.exists():
                maker = _maker(name)
                advice = (
                    f"make it with `kedro run{recipe} --pipelines {maker}`"
                    if maker
                    else "check its path"
                )
                raise UserError(f"{name}: {_path(dataset) or name} does not exist; {advice}")


class Whereabouts:
    """Keeps what a run is doing: a fault is told with the dataset, its path and what makes it."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: DataCatalog) -> None:
        """Remember where paths are found, in the ``catalog``, and the recipe of ``run_params``."""
        self._catalog = catalog
        self._recipe = _option(run_params)

    @hook_impl
    def before_dataset_loaded(self, dataset_name: str, node: Node) -> None:
        """Remember that ``node`` reads the dataset ``dataset_name``."""
        self._look_at(node, dataset_name, writing=False)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Remember that ``node`` has its result written as the dataset ``dataset_name``."""
        self._look_at(node, dataset_name, writing=True)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Remember that ``node`` runs, and reads or writes nothing yet."""
        faults.NOW.become(faults.Place(node=node.name))

    def _look_at(self, node: Node, dataset: str, writing: bool) -> None:
        path = _path(self._catalog.get(dataset))
        maker = _maker(dataset)
        command = f"kedro run{self._recipe} --pipelines {maker}" if maker else None
        faults.NOW.become(faults.Place(node.name, dataset, path, command, writing))


def _option(run_params: dict[str, Any]) -> str:
    return f" --env {run_params['env']}" if run_params.get("env") else ""


def _path(dataset: Any) -> str | None:
    """Return where a dataset lies, None if it is in memory or in many places."""
    found = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", None)
    return None if found is None or isinstance(found, list) else str(found)


def _maker(dataset: str) -> str | None:
    """Return the pipeline that makes a dataset, None for what users bring."""
    return next(
        (
            name
            for name, p in pipelines.items()
            if name != "__default__" and dataset in p.all_outputs()
        ),
        None,
    )
