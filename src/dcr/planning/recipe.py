"""A recipe's whole cost: latents, both stages by method and seed, and what would be cheaper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dcr.planning.cards import CARDS, Card
from dcr.planning.disk import checkpoints_bytes, latents_bytes
from dcr.planning.savings import alternatives
from dcr.planning.steps import Step, Steps
from dcr.training.runs import STAGE1, all_runs

if TYPE_CHECKING:
    from dcr.parameters import LatentsParameters, PlanParameters, TrainingParameters
    from dcr.planning.outlines import Outlines
    from dcr.training.cost import Plan

MAX_BATCH = 1 << 16
"""Up to which a largest batch is looked for."""

_HOUR = 3600
_GB = 10**9


@dataclass(frozen=True)
class Fit:
    """What of a run fits in a memory.

    Attributes:
        memory_gb: of a card, in 10^9 bytes.
        rows: the most rows of the run's own batch; 0 where not even one fits.
        step_bytes: of a step with these rows, weights aside.
        max_batch_size: the largest batch that fits row by row; 0 where not even two images do.
    """

    memory_gb: float
    rows: int
    step_bytes: int
    max_batch_size: int


@dataclass(frozen=True)
class RunPlan:
    """What a run takes, in each of its processes where nothing else is said.

    Attributes:
        name: of the run, with method, phase and seed.
        num_steps, batch_size, num_processes: of optimizer steps; of images a micro-step.
        num_samples: that all processes see in all steps.
        mixed_precision: that it computes in.
        num_trainable: parameters that train.
        weight_bytes: of all models that are held.
        one_row, asked, all_rows: the step with one row at once, with the recipe's rows_per_chunk
            (None where that is 0, what fits), and with all of them.
        flops: of all steps and all processes.
        checkpoint_bytes: of the checkpoints that are kept.
        fits: what fits in each memory.
    """

    name: str
    num_steps: int
    batch_size: int
    num_processes: int
    num_samples: int
    mixed_precision: str
    num_trainable: int
    weight_bytes: int
    one_row: Plan
    asked: Plan | None
    all_rows: Plan
    flops: int
    checkpoint_bytes: int
    fits: tuple[Fit, ...]

    @property
    def memory_bytes(self) -> int:
        """Weights and a step with the recipe's rows, or with one where it takes what fits."""
        return self.weight_bytes + (self.asked or self.one_row).step_bytes


@dataclass(frozen=True)
class LatentsPlan:
    """What the latents take: by the VAE once a crop, or in training where they are not cached.

    Attributes:
        num_crops: that are encoded.
        mixed_precision: of the VAE.
        flops: of all of them.
        num_bytes: of the cache; 0 where there is none.
    """

    num_crops: int
    mixed_precision: str
    flops: int
    num_bytes: int


@dataclass(frozen=True)
class Saving:
    """What a recipe with another setting would take.

    Attributes:
        setting: as a recipe or ``--params`` says it.
        remark: what it changes beside the cost.
        flops: of latents and training.
        hours: GPU-hours of that by card.
        memory_bytes: of the run that takes most.
    """

    setting: str
    remark: str
    flops: int
    hours: dict[str, float]
    memory_bytes: int


@dataclass(frozen=True)
class RecipePlan:
    """What a recipe takes; hours are GPU-hours by card.

    Attributes:
        num_images, share_of_peak: as assumed.
        image_size: side of the tower's input in pixels.
        num_parameters: of image and text tower, and of the diffusion model.
        tower_flops: of the image tower for one image without gradient, as evaluation needs it.
        latents, latents_hours: of the latents.
        runs, runs_hours: by run.
        hours: of all.
        savings: what would be cheaper.
    """

    num_images: int
    share_of_peak: float
    image_size: int
    num_parameters: tuple[int, int]
    tower_flops: int
    latents: LatentsPlan
    latents_hours: dict[str, float]
    runs: tuple[RunPlan, ...]
    runs_hours: dict[str, dict[str, float]]
    hours: dict[str, float]
    savings: tuple[Saving, ...]

    @property
    def flops(self) -> int:
        """Of latents and all runs."""
        return self.latents.flops + sum(run.flops for run in self.runs)

    @property
    def memory_bytes(self) -> int:
        """Of the run that takes most."""
        return max(run.memory_bytes for run in self.runs)


def plan_recipe(
    training: TrainingParameters,
    latents: LatentsParameters,
    assumed: PlanParameters,
    models: Outlines,
) -> RecipePlan:
    """Return what a recipe takes.

    Args:
        training, latents, assumed: its sections ``training``, ``latents`` and ``plan``.
        models: that it trains and trains by.

    Raises:
        UserError: its models are neither here nor known, or its parameters do not go together.
    """
    steps = Steps(models)
    runs = _plan_runs(training, assumed, steps)
    vae_flops, tower_flops = steps.flops_of_image
    planned_latents = _plan_latents(latents, assumed, runs, vae_flops, steps)
    share = assumed.share_of_peak
    before = RecipePlan(
        assumed.num_images,
        share,
        steps.image_size,
        steps.num_parameters,
        tower_flops,
        planned_latents,
        _hours(planned_latents, share),
        runs,
        {run.name: _hours(run, share) for run in runs},
        _total_hours(planned_latents, runs, share),
        (),
    )
    found = (_saving(before, assumed, steps, *other) for other in alternatives(training))
    return replace(before, savings=tuple(one for one in found if _is_cheaper(one, before)))


def _saving(
    plan: RecipePlan,
    assumed: PlanParameters,
    steps: Steps,
    setting: str,
    remark: str,
    training: TrainingParameters,
) -> Saving:
    """Return what the planned recipe takes with the section ``training`` of another setting."""
    runs = _plan_runs(training, assumed, steps)
    other = replace(plan, runs=runs)
    hours = _total_hours(plan.latents, runs, plan.share_of_peak)
    return Saving(setting, remark, other.flops, hours, other.memory_bytes)


def _is_cheaper(saving: Saving, plan: RecipePlan) -> bool:
    """Tell whether a setting saves time or memory: phases may have numbers of their own."""
    card = CARDS[0].name
    return saving.hours[card] < plan.hours[card] or saving.memory_bytes < plan.memory_bytes


def _plan_runs(
    training: TrainingParameters, assumed: PlanParameters, steps: Steps
) -> tuple[RunPlan, ...]:
    is_imported = training.stage1.projector_file is not None
    runs = [run for run in all_runs(training).values() if not (is_imported and run.name == STAGE1)]
    return tuple(plan_run(steps.of(run), assumed.memories_gb) for run in runs)


def plan_run(step: Step, memories_gb: list[float]) -> RunPlan:
    """Return what a run takes.

    Args:
        step: of the run.
        memories_gb: of cards, in 10^9 bytes.
    """
    run = step.run
    p = run.parameters
    size = run.stage.train_batch_size
    count = p.processes.count
    asked = step.plan() if p.execution.rows_per_chunk else None
    one_row = step.with_numbers(rows=1).plan()
    samples = size * count * p.optimizer.gradient_accumulation_steps * run.max_train_steps
    trainable = step.micro_step.model.trainable()
    return RunPlan(
        run.name,
        run.max_train_steps,
        size,
        count,
        samples,
        p.mixed_precision,
        sum(parameter.numel() for parameter in trainable.values()),
        step.weight_bytes,
        one_row,
        asked,
        step.with_numbers(rows=size).plan(),
        one_row.step_flops * run.max_train_steps * count,
        checkpoints_bytes(run, trainable.values()),
        tuple(_fit(step, memory) for memory in memories_gb),
    )


def _fit(step: Step, memory_gb: float) -> Fit:
    memory = int(memory_gb * _GB)
    open_rows = step.with_numbers(rows=0)
    planned = open_rows.plan(memory)
    rows = planned.rows_per_chunk if step.fits(planned, memory) else 0

    def holds(size: int) -> bool:
        """Tell whether a batch of ``size`` images fits row by row."""
        other = step.with_numbers(rows=1, batch_size=size)
        return other.fits(other.plan(), memory)

    return Fit(memory_gb, rows, planned.step_bytes, _largest(holds))


def _largest(holds: Callable[[int], bool]) -> int:
    """Return the largest size from 2 to `MAX_BATCH` that ``holds``, as all below it do; else 0."""
    if not holds(2):
        return 0
    low, high = 2, MAX_BATCH
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _plan_latents(
    latents: LatentsParameters,
    assumed: PlanParameters,
    runs: tuple[RunPlan, ...],
    flops: int,
    steps: Steps,
) -> LatentsPlan:
    crops = assumed.num_images * latents.crops_per_image
    if latents.mode == "online":
        crops = sum(run.num_samples for run in runs)
    num_bytes = latents_bytes(latents, assumed.num_images, steps.image_size, steps.vae)
    return LatentsPlan(crops, latents.mixed_precision, crops * flops, num_bytes)


def _hours(part: RunPlan | LatentsPlan, share: float) -> dict[str, float]:
    return {card.name: hours(part.flops, card, part.mixed_precision, share) for card in CARDS}


def hours(flops: int, card: Card, mixed_precision: str, share: float) -> float:
    """Return the GPU-hours of ``flops`` operations.

    Args:
        flops: of all processes.
        card: that computes them.
        mixed_precision: in which they are computed.
        share: of the card's dense peak that is reached.
    """
    return flops / (card.peak(mixed_precision) * share) / _HOUR


def _total_hours(latents: LatentsPlan, runs: tuple[RunPlan, ...], share: float) -> dict[str, float]:
    parts = [_hours(latents, share), *(_hours(run, share) for run in runs)]
    return {card.name: sum(part[card.name] for part in parts) for card in CARDS}
