"""Both stages of training, in sections as the components are that use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dcr.data.remote import check_target
from dcr.parameters.section import Section
from dcr.parameters.training.parts import (
    Batches,
    CheckpointKeeping,
    Execution,
    HeldOut,
    Loss,
    Monitoring,
    Optimizer,
    Positives,
    Processes,
    Stage1,
    Stage2,
    Tuning,
    Views,
)
from dcr.parameters.training.phases import Method, Phase, Phases
from dcr.parameters.training.published import PARTS, VIEWS, Part, Published
from dcr.parameters.training.signal import Signal

WITHOUT_EFFECT = (
    "execution",
    "checkpoints",
    "monitoring",
    "held_out.every_steps",
    "optimizer.max_skipped_steps",
    "processes.num_methods_at_once",
    "processes.rendezvous_endpoint",
    "processes.sharding",
)
"""How a run is walked, watched, kept and shared out: sections and parameters that change its result
by rounding at most.
"""


class TrainingParameters(Section):
    """Both stages of training."""

    seed: int
    stage2_seeds: list[Annotated[int, Field(ge=0)]]
    phases: Phases
    method: Method
    baselines: list[Method]
    published: Published
    mixed_precision: Literal["no", "bf16", "fp16"]
    compile: bool
    condition: Literal["broadcast", "patch_tokens"]
    end_to_end_max_train_steps: PositiveInt
    held_out: HeldOut
    execution: Execution
    processes: Processes
    checkpoints: CheckpointKeeping
    monitoring: Monitoring
    optimizer: Optimizer
    stage1: Stage1
    stage2: Stage2
    batches: Batches
    loss: Loss
    signal: Signal
    positives: Positives
    tuning: Tuning
    views: Views

    def check_with(self, sections: Mapping[str, Section]) -> None:
        """Refuse a place for checkpoints that takes none; ``sections`` are not looked at.

        Raises:
            UserError: see `check_target`.
        """
        if self.checkpoints.sync:
            check_target(self.checkpoints.sync, "training.checkpoints.sync")

    def takes(self, part: Part) -> bool:
        """Return whether ``part`` is the published code's."""
        return part in self.published

    def by_name(self) -> dict[str, Any]:
        """Return all values by dotted name."""
        values = self.model_dump(mode="json")
        values["signal"] = {"name": self.signal.name, **self.signal.values()}
        return _flatten(values)

    def course(self) -> dict[str, Any]:
        """Return by dotted name those values that a training's result depends on."""
        return {n: value for n, value in self.by_name().items() if not _is_without_effect(n)}

    def of_phase(self, phase: Phase, seed: int) -> TrainingParameters:
        """Return the parameters as ``phase`` sees them: its own numbers and ``seed``, no phases."""
        values = self.model_dump()
        for (section, name), number in phase.own_numbers().items():
            values[section][name] = number
        alone: dict[str, Any] = {
            "method": phase.objective,
            "baselines": [],
            "phases": {},
            "stage2_seeds": [],
        }
        return type(self).model_validate(values | alone | {"seed": seed})

    @model_validator(mode="before")
    @classmethod
    def _publish(cls, values: Any) -> Any:
        """Take the published strengths of the views with all of the published parts."""
        if not isinstance(values, dict) or not isinstance(values.get("views"), dict):
            return values
        asked = values.get("published")
        everything = asked == "all" or (
            isinstance(asked, list) and set(PARTS) <= {*map(str, asked)}
        )
        return values | {"views": values["views"] | VIEWS} if everything else values

    @model_validator(mode="after")
    def _check_published(self) -> TrainingParameters:
        """Refuse what the published code does not know."""
        for method in (self.method, *self.baselines):
            phases = self.phases.get(method, [])
            if {*self.published} == {*PARTS} and (
                len(phases) > 1 or any(phase.own_numbers() for phase in phases)
            ):
                raise ValueError(
                    f"published: all is one phase of the recipe's numbers, but phases.{method} says"
                    " otherwise: train another method, or set published to []"
                )
        if self.takes("sampling") and self.batches.gather_negatives:
            raise ValueError(
                "published must be without sampling where batches.gather_negatives is true, which"
                " would contrast an image with itself"
            )
        neutral = {
            "loss.target_weight": (self.loss.target_weight, 0.5),
            "batches.num_views": (self.batches.num_views, 1),
            "batches.negatives_count": (self.batches.negatives_count, 0),
        }
        changed = [name for name, (value, due) in neutral.items() if value != due]
        if self.takes("loss") and changed:
            raise ValueError(
                f"published must be without loss where {' and '.join(changed)} differ from what the"
                " published loss knows"
            )
        return self

    @model_validator(mode="after")
    def _check_published_stage1(self) -> TrainingParameters:
        """Refuse a published stage 1 that contrasts over other batches than stage 2."""
        asked = {*self.published} == {*PARTS} and self.stage1.loss == "dcr"
        stages = (self.stage1, self.stage2)
        own, due = ((s.train_batch_size, s.gradient_accumulation_steps) for s in stages)
        if asked and self.stage1.projector_file is None and own != due:
            raise ValueError(
                f"stage1.train_batch_size {own[0]} and gradient_accumulation_steps {own[1]} must be"
                f" stage2's {due[0]} and {due[1]} where published is all and stage1.loss dcr, since"
                " the published code contrasts over the same batch in both stages"
            )
        return self

    @model_validator(mode="after")
    def _check_cuda_graphs(self) -> TrainingParameters:
        """Refuse graphs of blocks that are not compiled, or are computed a second time."""
        execution = self.execution
        if execution.cuda_graphs and not self.compile:
            raise ValueError(
                "execution.cuda_graphs are made of compiled blocks: set compile to true, or"
                " cuda_graphs to false"
            )
        if execution.cuda_graphs and execution.gradient_checkpointing == "all":
            raise ValueError(
                "execution.cuda_graphs do not go with gradient_checkpointing all, which computes"
                " the UNet's blocks outside of their order: set it to tower or none"
            )
        return self

    @model_validator(mode="after")
    def _check_sharding(self) -> TrainingParameters:
        if self.processes.sharding == "fsdp2" and self.mixed_precision == "fp16":
            raise ValueError(
                "processes.sharding must be none with mixed_precision fp16, whose loss scale each"
                " process would find by itself"
            )
        return self

    @model_validator(mode="after")
    def _check_phases(self) -> TrainingParameters:
        """Refuse phases whose numbers do not go with each other or with the recipe's.

        It comes last, so that what is wrong without phases is told without them.
        """
        for method, phases in self.phases.items():
            for place, phase in enumerate(phases):
                try:
                    self.of_phase(phase, self.seed)
                except ValidationError as exc:
                    error = exc.errors()[0]
                    rule = error["msg"].removeprefix("Value error, ")
                    where = f"phases.{method}.{place}"
                    if not error["loc"]:  # a rule about several values, which names them
                        raise ValueError(f"{where}: {rule}") from exc
                    raise ValueError(
                        f"{where}.{error['loc'][-1]} {rule}, got {error['input']!r} with the"
                        " recipe's other numbers"
                    ) from exc
        return self

    @field_validator("stage2_seeds")
    @classmethod
    def _check_seeds(cls, value: list[int], info: ValidationInfo) -> list[int]:
        if len({info.data.get("seed"), *value}) <= len(value):
            raise ValueError("must be seeds that differ from each other and from training.seed")
        return value


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return values by dotted name; phases stay as they are, a list by method."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and name != "phases":
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _is_without_effect(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in WITHOUT_EFFECT)
