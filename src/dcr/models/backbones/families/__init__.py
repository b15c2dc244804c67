"""The families of backbones: one module each, which says all that DCR knows of the family.

A module of this folder declares ``FAMILY``, a subclass of `dcr.models.backbones.base.Backbone`. It
is found by lying here, so that who adds a family edits no other file.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from dcr.errors import UserError
from dcr.models.backbones.base import Backbone
from dcr.models.model_configs import read_json


@cache
def family_modules() -> tuple[ModuleType, ...]:
    """Return the module of every family, in the order of their names."""
    names = sorted(module.name for module in iter_modules(__path__))
    return tuple(import_module(f"{__name__}.{name}") for name in names)


def families() -> tuple[type[Backbone], ...]:
    """Return every family, in the order of their modules' names."""
    return tuple(module.FAMILY for module in family_modules())


def find_family(location: str) -> type[Backbone]:
    """Return the family that a local source is of.

    Args:
        location: as `dcr.data.sources.backbone_location` returns it.

    Raises:
        UserError: it is a folder of none.
    """
    found = next((family for family in families() if family.recognises(location)), None)
    if found is None:
        raise UserError(_refusal(Path(location)))
    return found


def _refusal(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        return (
            f"Backbone folder {folder} has neither config.json (transformers) nor"
            " open_clip_config.json (open_clip): point the recipe's backbone at a model folder."
        )
    model_type = read_json(folder / "config.json").get("model_type")
    known = ", ".join(family.model_type for family in families() if family.model_type)
    return (
        f"Backbone folder {folder}: config.json has model_type {model_type!r}, supported are"
        f" {known}."
    )
