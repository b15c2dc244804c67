"""What the recipe is called."""

from __future__ import annotations

from dcr.parameters.section import Section


class RecipeParameters(Section):
    """What the model cards say of the recipe."""

    name: str
    licence: str
