"""Kedro hooks: a recipe is checked as a whole before anything runs, and nodes get it as typed objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedro.framework.hooks import hook_impl

from dcr.parameters import build_parameters

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol


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
