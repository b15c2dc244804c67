"""A Kedro session that runs the recipe's own pipelines when none is named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kedro.framework.session import KedroSession


class RecipeSession(KedroSession):
    """As ``KedroSession``; without a pipeline's name it runs those listed in the recipe's globals.yml.

    The demo's recipe starts by rendering its world; a recipe on real data must not. Kedro's registry does not know
    the recipe, so the session reads it.
    """

    def run(self, pipeline_names: Iterable[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        if not pipeline_names and not kwargs.get("pipeline_name"):
            pipeline_names = self.load_context().config_loader["globals"]["pipelines"]
        return super().run(pipeline_names=pipeline_names, **kwargs)
