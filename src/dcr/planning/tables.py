"""A plan as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from dcr.planning.cards import CARDS
from dcr.planning.plans import Fit, RecipePlan, RunPlan
from dcr.planning.recipe import MAX_BATCH
from dcr.planning.units import in_bytes, in_flops, in_time

_NOT_COUNTED = (
    "validation, made positives, alignment, evaluation, export and pages; held-out errors,"
    " diagnostics and pictures in training; reading, drawing views, sending gradients, downloads."
    " Small models and few rows at once do not reach that share of a peak. Phases that begin alike"
    " are trained once, but counted each."
)


def as_text(recipe: str, plan: RecipePlan) -> str:
    """Return what ``plan`` says of the recipe called ``recipe``, in tables of plain text."""
    used = f"GPU-hours, at {plan.share_of_peak:.0%} of each card's dense peak"
    return "\n\n".join(
        [
            _head(recipe, plan),
            _titled("Runs, in each process; a step comes on top of the weights", _runs(plan)),
            _titled(used, _hours(plan)),
            _titled("Rows at once of a run's batch that fit, and its largest batch", _fits(plan)),
            _disk(plan),
            _titled("With another setting, by `--params`", _savings(plan)),
            f"Evaluation takes {in_flops(plan.tower_flops)} an image and encoder; how many images"
            " there are, the sets alone know.",
            f"Not counted: {_NOT_COUNTED}",
            _peaks(),
        ]
    )


def _head(recipe: str, plan: RecipePlan) -> str:
    backbone, diffusion = plan.num_parameters
    count = plan.runs[0].num_processes
    processes = "1 process" if count == 1 else f"{count} processes, which share the hours below"
    return (
        f"{recipe}: {plan.num_images:,} images of {plan.image_size} px, {processes}; a backbone of"
        f" {backbone / 1e6:,.1f} M parameters, a diffusion model of {diffusion / 1e6:,.1f} M"
    )


def _disk(plan: RecipePlan) -> str:
    checkpoints = sum(run.checkpoint_bytes for run in plan.runs)
    latents = plan.latents.num_bytes
    cache = in_bytes(latents) if latents else "none, they are made in training"
    features = sum(run.feature_bytes for run in plan.runs)
    kept = f"; features of stage 1 {in_bytes(features)}" if features else ""
    return f"Disk: latents {cache}; checkpoints {in_bytes(checkpoints)}{kept}"


def _peaks() -> str:
    peaks = (
        f"{card.name} {card.bf16_tflops:g} in bf16, {card.float32_tflops:g} in float32"
        f" ({card.source})"
        for card in CARDS
    )
    return f"Peaks in TFLOP/s: {'; '.join(peaks)}."


def _groups(plan: RecipePlan) -> Iterator[tuple[str, RunPlan]]:
    """Yield runs that differ in their seed alone as one, with how they are called together."""
    found: dict[RunPlan, list[str]] = {}
    for run in plan.runs:
        found.setdefault(replace(run, name=run.name.partition("@")[0]), []).append(run.name)
    for run, names in found.items():
        yield f"{names[0]} (each of {len(names)} seeds)" if len(names) > 1 else names[0], run


def _runs(plan: RecipePlan) -> Iterator[Sequence[str]]:
    yield (
        *("run", "steps", "batch", "samples", "trained", "operations"),
        *("of a step", "weights", "step of 1 row", "all rows", "as set"),
    )
    for name, run in _groups(plan):
        asked = run.asked
        yield (
            name,
            f"{run.num_steps:,}",
            f"{run.batch_size}",
            f"{run.num_samples:,}",
            f"{run.num_trainable:,}",
            in_flops(run.flops),
            in_flops(run.one_row.step_flops),
            in_bytes(run.weight_bytes),
            in_bytes(run.one_row.step_bytes),
            in_bytes(run.all_rows.step_bytes),
            f"{in_bytes(asked.step_bytes)}, {asked.rows_per_chunk} rows" if asked else "what fits",
        )


def _hours(plan: RecipePlan) -> Iterator[Sequence[str]]:
    yield ("", *(card.name for card in CARDS))
    rows = {"latents": plan.latents_hours}
    rows |= {label: plan.runs_hours[run.name] for label, run in _groups(plan)}
    for name, hours in (rows | {"all": plan.hours}).items():
        yield (name, *(in_time(hours[card.name]) for card in CARDS))


def _fits(plan: RecipePlan) -> Iterator[Sequence[str]]:
    yield ("run", *(f"{fit.memory_gb:g} GB" for fit in plan.runs[0].fits))
    for name, run in _groups(plan):
        yield (name, *(_fit(fit, run) for fit in run.fits))


def _fit(fit: Fit, run: RunPlan) -> str:
    if not fit.max_batch_size:
        return "nothing"
    most = f"batch {fit.max_batch_size:,}{'+' if fit.max_batch_size == MAX_BATCH else ''}"
    is_one = run.one_row.step_bytes == run.all_rows.step_bytes  # rows hold no more than one does
    rows = run.batch_size if fit.rows and is_one else fit.rows
    kept = ", tower kept" if fit.keeps_tower else ""
    return f"{rows} of {run.batch_size}{kept}, {most}"


def _savings(plan: RecipePlan) -> Iterator[Sequence[str]]:
    card = CARDS[0].name
    yield ("setting", "operations", f"on {card}", "", "memory", "what it changes")
    now = in_flops(plan.flops), in_time(plan.hours[card])
    yield ("as it is", *now, "", in_bytes(plan.memory_bytes), "")
    for saving in plan.savings:
        yield (
            saving.setting,
            in_flops(saving.flops),
            in_time(saving.hours[card]),
            f"{saving.hours[card] / plan.hours[card] - 1:+.0%}",
            in_bytes(saving.memory_bytes),
            saving.remark,
        )


def _titled(title: str, rows: Iterable[Sequence[str]]) -> str:
    """Return a table under its title: words, in the first and last column, to the left."""
    lines = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides: list[Callable[[str, int], str]] = [str.rjust] * len(widths)
    sides[0] = sides[-1] = str.ljust
    table = (
        "  ".join(
            side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )
    return "\n".join((f"{title}:", *table))
