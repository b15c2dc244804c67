"""Kedro hooks: a recipe is checked as a whole before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedro.framework.hooks import hook_impl

from dcr.parameters import check_parameters

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext


class CheckParameters:
    """Refuses unknown, missing or wrongly typed parameters, also of pipelines that do not run this time."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check every section; raises UserError naming the key."""
        check_parameters(context.config_loader["parameters"])
