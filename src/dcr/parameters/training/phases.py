"""Stage 2 as a list of phases; part of `training`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, ValidationInfo
from pydantic.functional_validators import AfterValidator

from dcr.encoder_names import METHOD_PATTERN
from dcr.parameters.section import Checked

FLAT_METHODS = ("dcr", "reconstruction", "naive", "end_to_end")
"""Methods that need no phases: they train by the recipe's own numbers."""

LearningRateDecay = Literal["none", "linear", "cosine"]
PullTo = Literal["base", "phase"]

_PLACES = {
    "stage2": ("max_train_steps", "train_batch_size", "learning_rate", "learning_rate_decay"),
    "loss": ("reconstruction_share", "base_embedding_weight", "pull_to", "temperature"),
    "batches": ("negatives_count", "timestep_min", "timestep_max"),
}
# A method that has no phases, and folders beside the runs'.
_TAKEN = ("end_to_end", "stage1", "job")


class Phase(Checked):
    """One phase of a method's stage 2; a number that is null or absent is the recipe's."""

    objective: Literal["dcr", "reconstruction", "naive"]
    max_train_steps: PositiveInt | None = None
    train_batch_size: int | None = Field(default=None, ge=2)
    learning_rate: float | None = Field(default=None, gt=0)
    learning_rate_decay: LearningRateDecay | None = None
    reconstruction_share: float | None = Field(default=None, ge=0, le=1)
    base_embedding_weight: float | None = Field(default=None, ge=0)
    pull_to: PullTo | None = None
    negatives_count: int | None = Field(default=None, ge=0)
    temperature: float | None = Field(default=None, gt=0)
    timestep_min: float | None = Field(default=None, ge=0, lt=1)
    timestep_max: float | None = Field(default=None, gt=0, le=1)

    @classmethod
    def places(cls) -> dict[str, tuple[str, str]]:
        """Return by its name in a phase where the recipe has each number: section, name."""
        return {name: (section, name) for section, names in _PLACES.items() for name in names}

    def own_numbers(self) -> dict[tuple[str, str], Any]:
        """Return the numbers that the phase sets itself, by the recipe's section and name."""
        return {
            place: own
            for name, place in self.places().items()
            if (own := getattr(self, name)) is not None
        }


def _check_name(name: str) -> str:
    if name in _TAKEN or not re.fullmatch(METHOD_PATTERN, name):
        raise ValueError(
            "must be small letters, digits and _, a letter first, neither end in _aligned or"
            f" _unaligned nor be base, {', '.join(_TAKEN[:-1])} or {_TAKEN[-1]}"
        )
    return name


def _check_method(method: str, info: ValidationInfo) -> str:
    """Refuse a method with neither the recipe's own numbers nor an entry in ``phases``.

    The phases are read before.
    """
    if method not in (*FLAT_METHODS, *info.data.get("phases", ())):
        raise ValueError(f"must be {', '.join(FLAT_METHODS)} or a name in training.phases")
    return method


Phases = dict[
    Annotated[str, AfterValidator(_check_name)], Annotated[list[Phase], Field(min_length=1)]
]
Method = Annotated[str, AfterValidator(_check_method)]
