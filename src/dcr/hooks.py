"""Kedro hooks: a recipe and a run's inputs are checked before anything runs, and nodes get typed parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from dcr.datasets.benchmark_sets import BenchmarkSetDataset
from dcr.datasets.shards import ShardsDataset
from dcr.errors import UserError
from dcr.parameters import build_parameters

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline


class TypedParameters:
    """Refuses unknown, missing or wrongly typed parameters, also those of pipelines that do not run this time.

    Kedro's own validation reads the type hints of nodes, which it cannot where they name a type that is imported
    for type checking alone, as ours do to keep heavy libraries out of start-up.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Build every section; raises UserError naming the key."""
        self._sections = build_parameters(context.config_loader["parameters"])

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol) -> None:
        """Put the sections in the catalog as ``params:<section>``."""
        for name, section in self._sections.items():
            catalog[f"params:{name}"] = section


class InputsExist:
    """Names the pipeline that makes a missing input, before hours are spent on the steps that come before it.

    Evaluation sets and shards tell it when they are opened: a recipe may evaluate some of its sets only, and shards may
    be a pattern or lie at a URL.
    """

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Look for every input that this run does not make itself; raises UserError naming the command."""
        recipe = f" --env {run_params['env']}" if run_params.get("env") else ""
        for name in sorted(pipeline.inputs()):
            dataset = catalog.get(name)
            if isinstance(dataset, BenchmarkSetDataset | ShardsDataset):
                continue
            if hasattr(dataset, "require"):
                dataset.require()
            elif not dataset.exists():
                path = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", name)
                raise UserError(
                    f"{name}: {path} does not exist; make it with `kedro run{recipe} --pipelines {_maker(name)}`"
                )


def _maker(dataset: str) -> str:
    return next((name for name, p in pipelines.items() if name != "__default__" and dataset in p.all_outputs()), "...")
