"""The sources of a recipe's shards: one, or several that training draws from by weight."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import Field, field_validator

from dcr.errors import UserError
from dcr.parameters.section import Checked
from dcr.validation.declared import PLAIN

_STAND_IN = "-"


class Source(Checked):
    """Shards that are judged, told of and drawn from together."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    shards: str | list[str]
    weight: float = Field(gt=0, allow_inf_nan=False)
    expectations: str = Field(min_length=1)

    @field_validator("shards")
    @classmethod
    def _name_a_place(cls, shards: str | list[str]) -> str | list[str]:
        check_patterns(shards)
        return shards

    @property
    def patterns(self) -> list[str]:
        """The shards as the recipe writes them, one pattern or several."""
        return [self.shards] if isinstance(self.shards, str) else self.shards


def with_sources(values: dict[str, Any]) -> dict[str, Any]:
    """Return globals with both: ``sources``, of which plain ``shards`` are one, and all ``shards``.

    What is malformed is left to the check of globals.yml. So that it is told under the key that the
    recipe has, the one source that stands for plain ``shards`` then has a stand-in.

    Args:
        values: of globals.yml, its layers merged.
    """
    if values.get("shards") is None and values.get("sources") is None:
        return values
    sources = values.get("sources")
    suite = values.get("expectations")
    if sources is None:
        shards = values.get("shards")
        plain = {
            "name": PLAIN,
            "shards": shards if _are_patterns(shards) else _STAND_IN,
            "weight": 1.0,
            "expectations": suite if isinstance(suite, str) and suite else _STAND_IN,
        }
        return values | {"sources": [plain]}
    if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        return values
    patterns: list[Any] = []
    for source in sources:
        own = source.get("shards")
        patterns += own if isinstance(own, list) else [own]
    return values | {
        "sources": [{"expectations": suite, **source} for source in sources],
        "shards": patterns,
    }


def _are_patterns(shards: Any) -> bool:
    several = shards if isinstance(shards, list) else [shards]
    return bool(several) and all(isinstance(pattern, str) and pattern for pattern in several)


def check_patterns(shards: Any) -> None:
    """Raise ValueError where ``shards`` are neither a pattern nor several."""
    if not _are_patterns(shards):
        raise ValueError("must be a folder, a pattern or a list of these")


def check_one_of_both(values: Any, path: str) -> None:
    """Refuse a file that names its shards twice.

    Args:
        values: of a globals.yml, those of the recipes that it extends aside.
        path: of the file, for messages.

    Raises:
        UserError: it sets both ``shards`` and ``sources``.
    """
    if values.get("shards") is not None and values.get("sources") is not None:
        raise UserError(
            f"{path} sets both `shards` and `sources`: name all shards in `sources`, or leave it"
            " out"
        )


def check_apart(sources: list[Source]) -> list[Source]:
    """Return the sources; raises ValueError where two share a name or shards, or there is none."""
    if not sources:
        raise ValueError("names no source: give one at least, or `shards`")
    name, count = Counter(source.name.casefold() for source in sources).most_common(1)[0]
    if count > 1:
        raise ValueError(f"has {count} sources of the name {name!r}: give each its own")
    holders: dict[str, str] = {}
    for source in sources:
        for pattern in set(source.patterns):
            if pattern in holders:
                raise ValueError(
                    f"names the shards {pattern!r} in both {holders[pattern]!r} and"
                    f" {source.name!r}: leave them in one"
                )
            holders[pattern] = source.name
    return sources
