"""The search for the setting of stage 2, declared before it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic.functional_validators import AfterValidator

from dcr.encoder_names import METHOD_PATTERN
from dcr.errors import UserError
from dcr.metrics.direction import is_share
from dcr.parameters.alignment import AlignmentParameters
from dcr.parameters.section import Checked, Section, build, merge
from dcr.parameters.training import TrainingParameters

_OF_THE_RECIPE = ("seed", "stage2_seeds", "baselines", "checkpoints", "stage1")


def _check_measure(measure: str) -> str:
    benchmark, _, metric = measure.partition(".")
    if not (benchmark and metric):
        raise ValueError("must be <benchmark>.<metric> of scores.json, as zero_shot.acc1")
    if not is_share(benchmark):
        raise ValueError("must be a measure of which more is better")
    return measure


def _check_name(name: str) -> str:
    if not re.fullmatch(METHOD_PATTERN, name):
        raise ValueError(
            "must be small letters, digits and _, a letter first, neither end in _aligned or"
            " _unaligned nor be base"
        )
    return name


Measure = Annotated[str, AfterValidator(_check_measure)]


class Improved(Checked):
    """A measure that is to rise, and what of it counts as 1 beside the others."""

    measure: Measure
    scale: float = Field(gt=0)


class Kept(Checked):
    """A measure that need not rise, and how much of it may be lost."""

    measure: Measure
    loss: float = Field(ge=0)


class Candidate(Checked):
    """A setting to try: the recipe with other values in sections `training` and `alignment`."""

    name: Annotated[str, AfterValidator(_check_name)]
    training: dict[str, Any] = Field(default_factory=dict)
    alignment: dict[str, Any] = Field(default_factory=dict)

    def apply(
        self, training: TrainingParameters, alignment: AlignmentParameters
    ) -> tuple[TrainingParameters, AlignmentParameters]:
        """Return the recipe's sections with this candidate's values.

        Its phases stand beside the recipe's.

        Args:
            training, alignment: the recipe's sections as its files give them.

        Raises:
            UserError: naming candidate and key, one is unknown, of the wrong type, or not the
                candidate's to set.
        """
        for key in self.training:
            if key in _OF_THE_RECIPE:
                raise UserError(
                    f"parameter '{self._prefix('training')}{key}' is the recipe's alone: candidates"
                    " share its stage 1, and are trained with selection.seeds; leave it out"
                )
        return (
            self._build(
                TrainingParameters, merge(training.model_dump(), self.training), "training"
            ),
            self._build(
                AlignmentParameters, merge(alignment.model_dump(), self.alignment), "alignment"
            ),
        )

    def _build(self, cls: type[Section], values: dict[str, Any], section: str) -> Any:
        return build(
            cls, values, "parameter", self._prefix(section), f"conf/base/parameters_{section}.yml"
        )

    def _prefix(self, section: str) -> str:
        return f"selection.candidates.{self.name}.{section}."


class SelectionParameters(Section):
    """Which settings of stage 2 are tried, and by which rule one is chosen.

    It tells with which seeds and on which sets, too.
    """

    candidates: list[Candidate]
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    sets: list[Literal["mmvp_vlm", "classification", "retrieval"]] = Field(min_length=1)
    improve: list[Improved] = Field(min_length=1)
    keep: list[Kept]
    budget_hours: float | None = Field(gt=0)

    @field_validator("candidates", "improve", "keep", "seeds", "sets")
    @classmethod
    def _check_different(cls, values: list[Any], info: ValidationInfo) -> list[Any]:
        names = [getattr(value, "name", getattr(value, "measure", value)) for value in values]
        if (doubled := next((name for name in names if names.count(name) > 1), None)) is not None:
            raise ValueError(f"must name each once, but {doubled} stands there twice")
        return values

    def check_with(self, sections: Mapping[str, Section]) -> None:
        """Refuse candidates that are no recipe, and seeds that the recipe itself is judged by.

        Args:
            sections: all of the recipe, by name, this one among them.

        Raises:
            UserError: naming the candidate and the key, or the seed.
        """
        training = sections["training"]
        alignment = sections["alignment"]
        assert isinstance(training, TrainingParameters)
        assert isinstance(alignment, AlignmentParameters)
        for candidate in self.candidates:
            candidate.apply(training, alignment)
        taken = {training.seed, *training.stage2_seeds}.intersection(self.seeds)
        if self.candidates and taken:
            raise UserError(
                f"parameter 'selection.seeds' holds {min(taken)}, which the recipe is judged by"
                " (training.seed and training.stage2_seeds): a search would fit the setting to it;"
                " choose others"
            )
