"""What a plan tells of a recipe: its latents and runs, what fits, and what would be cheaper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcr.training.cost import Plan


@dataclass(frozen=True)
class Fit:
    """What of a run fits in a memory.

    Attributes:
        memory_gb: of a card, in 10^9 bytes.
        rows: the most rows of the run's own batch; 0 where not even one fits.
        step_bytes: of a step with these rows, weights aside.
        max_batch_size: the largest batch that fits row by row; 0 where not even two images do.
        keeps_tower: whether the tower's blocks are kept with all rows at once, where the recipe
            lets memory decide.
    """

    memory_gb: float
    rows: int
    step_bytes: int
    max_batch_size: int
    keeps_tower: bool


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
        feature_bytes: of the features of all crops, where the run keeps them.
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
    feature_bytes: int = 0

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
