"""How each family is written for other libraries: open_clip, transformers, PEFT.

A module of this folder declares ``FORMS``, a subclass of `dcr.models.backbones.forms.base.Forms`
that names the family it is of; a family's own module may do so, too. A family without any is
written as its nearest base is. They lie apart from the families because no feature, and so no kept
result, depends on them.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from dcr.errors import UserError
from dcr.models.backbones.base import Backbone
from dcr.models.backbones.families import family_modules
from dcr.models.backbones.forms.base import Forms


def forms_of(backbone: Backbone) -> Forms:
    """Return how ``backbone`` is written; UserError where its family says nothing of it."""
    known = _declared()
    kind = next((kind for kind in type(backbone).__mro__ if kind in known), None)
    if kind is None:
        raise UserError(
            f"Backbone {backbone.source} cannot be written: {type(backbone).__module__} declares no"
            " FORMS; choose a model of another family"
        )
    return known[kind](backbone)


@cache
def _declared() -> dict[type[Backbone], type[Forms]]:
    own = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    modules = (*family_modules(), *own)
    found = [module.FORMS for module in modules if hasattr(module, "FORMS")]
    return {forms.family: forms for forms in found}
