"""What a recipe is called, what it starts from, and what the model cards say of it."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import Field, field_validator

from dcr.data.remote import check_url
from dcr.parameters.section import Checked, Section, build
from dcr.parameters.sources import Source, check_apart, check_patterns

_PLAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_-])?")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class RecipeParameters(Section):
    """What the model card and the data card say of the recipe."""

    name: str
    licence: str | None
    data_licence: str | None
    sources: list[Source]
    backbone: str

    @property
    def weights(self) -> dict[str, float]:
        """How often each source is drawn from, by name."""
        return {source.name: source.weight for source in self.sources}

    @property
    def patterns(self) -> dict[str, list[str]]:
        """The shards of each source as the recipe writes them, by name."""
        return {source.name: source.patterns for source in self.sources}

    def record_of_backbone(self, models: dict[str, Any]) -> dict[str, Any]:
        """Return what was found of the backbone; a record of another one says nothing of this one.

        Args:
            models: what pipeline `models` recorded, {} before it ran.
        """
        record: dict[str, Any] = models.get("backbone", {})
        return record if record.get("source") == self.backbone else {}

    def with_licence(self, models: dict[str, Any]) -> RecipeParameters:
        """Return these parameters with the licence of the weights that go in, else ``unknown``.

        Args:
            models: as in `record_of_backbone`.
        """
        found = self.record_of_backbone(models).get("licence")
        return self.model_copy(update={"licence": self.licence or found or "unknown"})


class RecipeGlobals(Checked):
    """The recipe's identity: globals.yml, merged over those it extends."""

    DATA: ClassVar[tuple[str, ...]] = (
        "shards",
        "sources",
        "backbone",
        "diffusion",
        "mmvp_vlm",
        "classification",
        "retrieval",
    )
    """What makes two recipes differ in more than the machine they run on."""

    extends: str | None = None
    recipe: str
    pipelines: list[str] = Field(min_length=1)
    sources: list[Source]
    shards: Any
    expectations: str = Field(min_length=1)
    published: str = Field(min_length=1)
    backbone: str = Field(min_length=1)
    diffusion: str = Field(min_length=1)
    mmvp_vlm: str | None = Field(min_length=1)
    classification: str | None = Field(min_length=1)
    retrieval: str | None = Field(min_length=1)
    more_sets: list[dict[str, str]]
    more_encoders: dict[str, str]
    device: str = Field(min_length=1)

    @field_validator("recipe")
    @classmethod
    def _is_a_plain_file_name(cls, name: str) -> str:
        if not _PLAIN.fullmatch(name) or _RESERVED.fullmatch(name):
            raise ValueError(
                "must be a plain file name: 1 to 64 letters, digits and the characters _ . - of"
                " which a dot neither begins nor ends it"
            )
        return name

    @field_validator("sources")
    @classmethod
    def _are_apart(cls, sources: list[Source]) -> list[Source]:
        return check_apart(sources)

    @field_validator("shards")
    @classmethod
    def _is_one_pattern_or_several(cls, shards: Any) -> Any:
        check_patterns(shards)
        return shards


def check_globals(values: dict[str, Any], path: str) -> RecipeGlobals:
    """Return globals.yml as its class.

    Args:
        values: of all its layers, merged.
        path: the recipe's own file, for messages.

    Raises:
        UserError: naming the first key that is unknown, missing or of the wrong type.
    """
    shards = values.get("shards")
    for pattern in shards if isinstance(shards, list) else [shards]:
        if isinstance(pattern, str):
            check_url(pattern, "shards")
    return build(RecipeGlobals, values, f"key of {path}:", "", "conf/base/globals.yml")
