"""A recipe's whole cost: latents, both stages by method and seed, and what would be cheaper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from dcr.planning.cards import CARDS, Card
from dcr.planning.disk import checkpoints_bytes, features_bytes, latents_bytes
from dcr.planning.plans import Fit, LatentsPlan, RecipePlan, RunPlan, Saving
from dcr.planning.savings import alternatives
from dcr.planning.steps import Step, Steps
from dcr.training.features import asks_for_features, why_not_kept
from dcr.training.runs import STAGE1, Run, all_runs

if TYPE_CHECKING:
    from dcr.parameters import LatentsParameters, PlanParameters, TrainingParameters
    from dcr.planning.outlines import Outlines

MAX_BATCH = 1 << 16
"""Up to which a largest batch is looked for."""

_HOUR = 3600
_GB = 10**9


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
    num_crops = None
    if latents.mode == "cache":
        num_crops = assumed.num_images * latents.crops_per_image
    runs = _plan_runs(training, num_crops, assumed, steps)
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
    found = (_saving(before, num_crops, assumed, steps, *other) for other in alternatives(training))
    return replace(before, savings=tuple(one for one in found if _is_cheaper(one, before)))


def _saving(
    plan: RecipePlan,
    num_crops: int | None,
    assumed: PlanParameters,
    steps: Steps,
    setting: str,
    remark: str,
    training: TrainingParameters,
) -> Saving:
    """Return what the planned recipe takes with the section ``training`` of another setting."""
    runs = _plan_runs(training, num_crops, assumed, steps)
    other = replace(plan, runs=runs)
    hours = _total_hours(plan.latents, runs, plan.share_of_peak)
    return Saving(setting, remark, other.flops, hours, other.memory_bytes)


def _is_cheaper(saving: Saving, plan: RecipePlan) -> bool:
    """Tell whether a setting saves time or memory: phases may have numbers of their own."""
    card = CARDS[0].name
    return saving.hours[card] < plan.hours[card] or saving.memory_bytes < plan.memory_bytes


def _plan_runs(
    training: TrainingParameters, num_crops: int | None, assumed: PlanParameters, steps: Steps
) -> tuple[RunPlan, ...]:
    is_imported = training.stage1.projector_file is not None
    runs = [run for run in all_runs(training).values() if not (is_imported and run.name == STAGE1)]
    return tuple(_plan_run(run, num_crops, assumed, steps) for run in runs)


def _plan_run(run: Run, num_crops: int | None, assumed: PlanParameters, steps: Steps) -> RunPlan:
    """Return what a run takes; where it keeps features, the tower encodes each crop once."""
    step = steps.of(run)
    planned = plan_run(step, assumed.memories_gb)
    if num_crops is None or not asks_for_features(run) or why_not_kept(run, num_crops):
        return planned
    saved = (planned.num_samples - num_crops) * steps.flops_of_image[1]
    width = step.micro_step.model.backbone.embed_dim
    return replace(
        planned, flops=planned.flops - saved, feature_bytes=num_crops * features_bytes(width)
    )


def plan_run(step: Step, memories_gb: list[float]) -> RunPlan:
    """Return what a run takes that encodes its images in every step.

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
    samples = size * count * run.stage.gradient_accumulation_steps * run.max_train_steps
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

    keeps_tower = open_rows.keeps_tower(memory)
    return Fit(memory_gb, rows, planned.step_bytes, _largest(holds), keeps_tower)


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
