"""How a section of parameters is declared, and how a recipe's values become sections."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from dcr.errors import UserError

_YAML_WORDS = {False: ("no", "off", "false", "n"), True: ("yes", "on", "true", "y")}
"""What YAML reads as a truth value where it stands without quotes."""


class Checked(BaseModel):
    """Values that are read-only, finite, and complete: an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _understand_yaml_words(cls, values: Any) -> Any:
        """Take YAML's false for ``no`` where that is a choice; likewise for the other words."""
        if not isinstance(values, dict):
            return values
        return {
            name: _word(cls, name, value) if isinstance(value, bool) else value
            for name, value in values.items()
        }


class Section(Checked):
    """A section of parameters, without defaults."""

    def check_with(self, sections: Mapping[str, Section]) -> None:
        """Raise UserError where these values do not go with those of other ``sections``, by name.

        Likewise where the message may not show the value. Most go with all.
        """


_Checked = TypeVar("_Checked", bound=Checked)


def build_parameters(parameters: dict[str, Any]) -> dict[str, Section]:
    """Return every section of a recipe as its class, by name.

    Args:
        parameters: what the recipe's files say, merged: by section, values by name.

    Raises:
        UserError: naming the first key that is unknown, missing, of the wrong type, or at odds with
            another section.
    """
    sections = {
        cls.__name__.removesuffix("Parameters").lower(): cls for cls in Section.__subclasses__()
    }
    for name in parameters:
        if name not in sections:
            raise UserError(
                f"unknown parameter {name!r}{did_you_mean(name, list(sections))}; see conf/base"
            )
    built = {
        name: build(
            cls,
            parameters.get(name, {}),
            "parameter",
            f"{name}.",
            f"conf/base/parameters_{name}.yml",
        )
        for name, cls in sections.items()
    }
    for section in built.values():
        section.check_with(built)
    return built


def merge(values: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with those that ``own`` has in their place, section by section."""
    merged = dict(values)
    for name, value in own.items():
        below = merged.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = merge(below, value)
        merged[name] = value
    return merged


def build(cls: type[_Checked], values: Any, kind: str, prefix: str, see: str) -> _Checked:
    """Return values as their class.

    Args:
        cls, values: the class, and what the recipe says under its name.
        kind: what a value is called. prefix: of its name. see: where it is explained.

    Raises:
        UserError: naming the first key that is unknown, missing or of the wrong type.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as exc:
        raise UserError(_explain(cls, exc, kind, prefix, see)) from exc


def _explain(cls: type[Checked], exc: ValidationError, kind: str, prefix: str, see: str) -> str:
    error = exc.errors()[0]
    # "[key]" is pydantic's word for a name that is wrong itself.
    place = [str(part) for part in error["loc"] if part != "[key]"]
    key = (prefix + ".".join(place)).removesuffix(".")
    if error["type"] == "extra_forbidden":
        return f"unknown {kind} {key!r}{_nearest(cls, error['loc'])}; see conf/base"
    if error["type"] == "missing":
        return f"{kind} {key!r} is missing; see {see}"
    rule = error["msg"].removeprefix("Value error, ")
    rule = rule[0].lower() + rule[1:]
    if error["type"] == "model_type":  # pydantic names a Python class
        names = ", ".join(_known(cls, (*error["loc"], "")))
        rule = f"must be a section of values by name ({names})"
    # A rule about several values at once, which names them.
    if not error["loc"] and error["type"] == "value_error":
        return f"{kind} {key!r}: {rule}; see {see}"
    quote = (
        " (put it in quotes)"
        if error["type"] == "string_type" and error["input"] is not None
        else ""
    )
    return f"{kind} {key!r}: {rule}, got {error['input']!r}{quote}; see {see}"


def _nearest(cls: type[Checked], place: tuple[str | int, ...]) -> str:
    """Return ``, did you mean ...?`` with the known name that is meant.

    It is that of the place, else of the sections below the class, where its last part is close.
    """
    name = str(place[-1])
    deep_names = _deep_names(cls)
    below = {deep.rpartition(".")[2]: deep for deep in deep_names}
    below |= {deep.replace(".", "_"): deep for deep in deep_names}  # as stage1_learning_rate
    hint = did_you_mean(name, _known(cls, place))
    close = difflib.get_close_matches(name, below, n=1)
    return hint or (f", did you mean {below[close[0]]!r}?" if close else "")


def _deep_names(cls: type[Checked], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, field in cls.model_fields.items():
        kinds = [part for part in _parts(field.annotation) if issubclass(part, Checked)]
        names += [deep for part in kinds for deep in _deep_names(part, f"{prefix}{name}.")]
        names += [] if kinds else [f"{prefix}{name}"]
    return names


def _known(cls: type[Checked], place: tuple[str | int, ...]) -> list[str]:
    """Return the names that may stand at a place of a class, or of a class nested in it."""
    for key in place[:-1]:
        annotation = cls.model_fields[key].annotation if key in cls.model_fields else None
        cls = next((inner for inner in _parts(annotation) if issubclass(inner, Checked)), cls)
    return list(cls.model_fields)


def _parts(annotation: Any) -> list[type]:
    """Return the classes that a type is made of: those of its arguments where it has any."""
    arguments = get_args(annotation)
    return [part for argument in arguments for part in _parts(argument)] or [
        annotation
    ] * isinstance(annotation, type)


def did_you_mean(name: str, known: list[str]) -> str:
    """Return ``, did you mean ...?`` with the ``known`` name closest to ``name``, else nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def check_name(kind: str, name: str, known: list[str], option: str) -> None:
    """Raise UserError if a name that a user gave by an option is none of those known.

    Args:
        kind: of thing that the name names, for the message.
        name, option: what the user gave, and by which option of the command line.
        known: the names that there are, in the order in which they are told.
    """
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known) or 'none'}"
        raise UserError(f"{option} {name}: there is no {kind} {name!r}; {hint}")


def _word(cls: type[Checked], name: str, value: bool) -> Any:
    annotation = cls.model_fields[name].annotation if name in cls.model_fields else None
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    return next((word for word in _YAML_WORDS[value] if word in choices), value)
