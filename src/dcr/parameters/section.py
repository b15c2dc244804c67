"""How a section of parameters is declared, and how a recipe's values become sections."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dcr.errors import UserError


class Section(BaseModel):
    """A section of parameters: read-only, without defaults, finite; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


def build_parameters(parameters: dict[str, Any]) -> dict[str, Section]:
    """Return every section of a recipe as its class, by name.

    Raises:
        UserError: naming the first key that is unknown, missing or of the wrong type.
    """
    sections = {cls.__name__.removesuffix("Parameters").lower(): cls for cls in Section.__subclasses__()}
    for name in parameters:
        if name not in sections:
            raise UserError(f"unknown parameter {name!r}{did_you_mean(name, list(sections))}; see conf/base")
    return {name: _build(name, cls, parameters.get(name, {})) for name, cls in sections.items()}


def _build(name: str, cls: type[Section], values: Any) -> Section:
    try:
        return cls.model_validate(values)
    except ValidationError as exc:
        raise UserError(_explain(name, cls, exc)) from exc


def _explain(section: str, cls: type[Section], exc: ValidationError) -> str:
    error = exc.errors()[0]
    key = ".".join([section, *map(str, error["loc"])])
    if error["type"] == "extra_forbidden":
        return f"unknown parameter {key!r}{did_you_mean(str(error['loc'][-1]), list(cls.model_fields))}; see conf/base"
    if error["type"] == "missing":
        return f"parameter {key!r} is missing; see conf/base/parameters_{section}.yml"
    rule = error["msg"][0].lower() + error["msg"][1:]
    return f"parameter {key!r}: {rule}, got {error['input']!r}; see conf/base/parameters_{section}.yml"


def did_you_mean(name: str, known: list[str]) -> str:
    """Return ``, did you mean ...?``, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
