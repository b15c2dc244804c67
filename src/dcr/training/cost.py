"""What a step costs, found before the first: activations, operations, rows at once.

It is found on two images and three pairs. Weights are not among the activations, nor are their
copies in the run's precision, nor with gradient checkpointing the inputs of the blocks, which it
keeps. Operations are those that are executed, what is computed again included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dcr.training.counting import Counted, count
from dcr.training.memory import MEMORY_SHARE, free_bytes
from dcr.training.step import MicroStep


@dataclass(frozen=True)
class Cost:
    """Cost of an image in the tower and of a (noisy latent, condition) pair in the UNet.

    Both are forward and backward.

    Attributes:
        image_bytes, image_flops: of an image.
        pair_bytes, pair_flops: of a pair.
        copy_bytes: the tower's weights in the run's precision, which autograd keeps once for all
            images.
        row_bytes, row_flops: of a row beside its pairs, which is what they share.
        forward_flops: of a pair that no gradient flows through; 0 where the run has none.
        base_flops: of an image in the frozen tower that the loss asks; 0 where it asks none.
    """

    image_bytes: int
    image_flops: int
    pair_bytes: int
    pair_flops: int
    copy_bytes: int = 0
    row_bytes: int = 0
    row_flops: int = 0
    forward_flops: int = 0
    base_flops: int = 0


@dataclass(frozen=True)
class Plan:
    """A run's expected cost.

    Attributes:
        rows_per_chunk: as given, or the most that fit in free memory.
        activation_bytes: what autograd saves of the tower and of one chunk.
        step_bytes: those, gradients and optimizer state; weights and data aside.
        step_flops: of one optimizer step on one process.
    """

    rows_per_chunk: int
    activation_bytes: int
    step_bytes: int
    step_flops: int


def measure(micro_step: MicroStep, image_size: int) -> Cost:
    """Measure an image, and pairs of a row; no gradient is left.

    Args:
        micro_step: of the run, its weights whole.
        image_size: side of the tower's input in pixels.
    """
    # blocks that an earlier run compiled are not compiled again for sizes that no step has
    with torch.compiler.set_stance("force_eager"):
        return Cost(**measure_image(micro_step, image_size), **measure_pair(micro_step, image_size))


def measure_image(micro_step: MicroStep, image_size: int) -> dict[str, int]:
    """Return what `Cost` says of an image, by its names.

    Args:
        micro_step, image_size: see `measure`.
    """
    pixels = _pixels(micro_step, image_size, 2)
    weights = list(micro_step.model.trainable().values())
    width = micro_step.model.backbone.embed_dim
    features = torch.zeros(2, width, device=pixels.device) if micro_step.knows_features else None

    def encode(number: int) -> None:
        """Send ``number`` images' projections back."""
        known = features if features is None else features[:number]
        projections = micro_step.precision.encode(micro_step.model, pixels[:number], known)[1]
        torch.autograd.grad(projections.sum(), weights, allow_unused=True)

    encode(1)  # makes what is constant in all steps
    modules = (micro_step.model, micro_step.diffusion.unet)
    one, two = (count(modules, encode, number) for number in (1, 2))
    image_bytes = two.num_bytes - one.num_bytes
    return {
        "image_bytes": image_bytes,
        "image_flops": one.num_flops,
        "copy_bytes": one.num_bytes - image_bytes,
        "base_flops": _base_flops(micro_step, pixels[:1]),
    }


@torch.no_grad()
def _base_flops(micro_step: MicroStep, pixels: torch.Tensor) -> int:
    """Return what the frozen tower beside the one that trains takes for an image's pixels."""
    base = micro_step.base
    if base is None:
        return 0
    with micro_step.precision.autocast():
        return count((base.model,), lambda _: base.encode_image(pixels), 1).num_flops


def measure_pair(micro_step: MicroStep, image_size: int) -> dict[str, int]:
    """Return what `Cost` says of a pair and of its row, by its names.

    Args:
        micro_step, image_size: see `measure`.
    """
    modules = (micro_step.model, micro_step.diffusion.unet)
    with torch.no_grad():
        pixels = _pixels(micro_step, image_size, 1)
        projections = micro_step.precision.encode(micro_step.model, pixels)[1]
    leaf = projections[:, None].requires_grad_()
    inputs = _row(micro_step, image_size)

    def predict(number: int) -> None:
        """Send ``number`` columns' predictions back, if they need it."""
        predictions = micro_step.predict(*inputs, leaf.repeat_interleave(number, dim=1))
        if predictions.requires_grad:
            torch.autograd.grad(predictions.float().sum(), leaf)

    predict(2)  # finds what a row shares, and makes what is constant in all steps
    few, more = (count(modules, predict, number) for number in (2, 3))
    pair = more - few
    forward = Counted(0, 0)
    if not micro_step.run.loss.negatives_gradient:
        with torch.no_grad():
            forward = count(modules, predict, 3) - count(modules, predict, 2)
    return {
        "pair_bytes": pair.num_bytes,
        "pair_flops": pair.num_flops,
        "row_bytes": few.num_bytes - 2 * pair.num_bytes,
        "row_flops": few.num_flops - 2 * pair.num_flops,
        "forward_flops": forward.num_flops,
    }


def _pixels(micro_step: MicroStep, image_size: int, number: int) -> torch.Tensor:
    return torch.zeros(number, 3, image_size, image_size, device=micro_step.diffusion.device)


def plan(
    micro_step: MicroStep,
    cost: Cost,
    trainable: dict[str, torch.Tensor],
    free: int | None = None,
) -> Plan:
    """Return what a step of the run will cost, and how many rows it takes at once.

    Args:
        micro_step: of the run.
        cost: of one image and of one pair.
        trainable: the parameters that train, by name; of sharded ones this process's part.
        free: bytes of memory that the step has; None for what is free on its device now.
    """
    run = micro_step.run
    batches = run.parameters.batches
    size = run.stage.train_batch_size
    is_dcr = run.objective == "dcr"
    num_views = batches.num_views + (micro_step.contrast.synthetic_weight > 0)
    images = size if run.objective == "reconstruction" else size * (1 + num_views)
    activations = images * cost.image_bytes + cost.copy_bytes
    trained = sum(12 * p.numel() for p in trainable.values())  # gradient and two moments
    alone = cost.row_bytes + cost.pair_bytes
    if is_dcr:
        row_bytes, row_flops = _row_cost(micro_step, cost, num_views)
    else:  # each image stands in a row of its own, size + 1 of them where DCR has one row
        row_bytes, row_flops = (size + 1) * alone, cost.row_flops + cost.pair_flops
    rows = run.parameters.execution.rows_per_chunk or _rows_that_fit(
        micro_step, row_bytes, activations + trained, free
    )
    chunk = min(rows, size) * row_bytes if is_dcr else min(rows * (size + 1), size) * alone
    asked = size * (1 if micro_step.contrast.resampler is None else 2)  # of the frozen tower
    flops = images * cost.image_flops + size * row_flops + asked * cost.base_flops
    return Plan(
        rows,
        activations + chunk,
        activations + chunk + trained,
        flops * run.stage.gradient_accumulation_steps,
    )


def fits_whole(micro_step: MicroStep, planned: Plan, free: int | None = None) -> bool:
    """Tell whether a step fits with all the rows at once that it is to have.

    Args:
        micro_step: of the run.
        planned: what `plan` returned of it.
        free: as for `plan`.
    """
    run = micro_step.run
    if free is None:
        free = free_bytes(micro_step.diffusion.device, micro_step.processes.num_on_host)
    all_rows = run.stage.train_batch_size if run.objective == "dcr" else 1  # one has them all
    wanted = run.parameters.execution.rows_per_chunk or all_rows
    return planned.rows_per_chunk >= wanted and planned.step_bytes <= MEMORY_SHARE * free


def _row_cost(micro_step: MicroStep, cost: Cost, num_views: int) -> tuple[int, int]:
    """Return bytes and operations of one row of DCR's grid, ``num_views`` of which are views."""
    run = micro_step.run
    gathers = micro_step.contrast.gathers
    columns = run.stage.train_batch_size * (micro_step.processes.count if gathers else 1)
    negatives = run.parameters.batches.negatives_count or columns - 1
    pairs = 1 + num_views
    if run.loss.negatives_gradient:
        pairs += negatives
        return (
            cost.row_bytes + pairs * cost.pair_bytes,
            cost.row_flops + pairs * cost.pair_flops,
        )
    # negatives are predicted apart, so that what a row shares is computed twice
    flops = 2 * cost.row_flops + pairs * cost.pair_flops + negatives * cost.forward_flops
    return cost.row_bytes + pairs * cost.pair_bytes, flops


def _row(micro_step: MicroStep, image_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a noisy latent, (1, C, h, w), and its timestep, (1,), on the run's device."""
    diffusion = micro_step.diffusion
    side = image_size // 2 ** (len(diffusion.vae.config.block_out_channels) - 1)
    channels = diffusion.unet.config.in_channels
    return (
        torch.zeros(1, channels, side, side, device=diffusion.device),
        torch.zeros(1, dtype=torch.long, device=diffusion.device),
    )


def _rows_that_fit(micro_step: MicroStep, row_bytes: int, kept: int, free: int | None) -> int:
    """Return how many rows fit in free memory, at least one and at most all."""
    if free is None:
        free = free_bytes(micro_step.diffusion.device, micro_step.processes.num_on_host)
    return max(
        1,
        min(
            micro_step.run.stage.train_batch_size,
            math.floor((MEMORY_SHARE * free - kept) / max(1, row_bytes)),
        ),
    )
