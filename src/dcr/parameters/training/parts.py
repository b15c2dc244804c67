"""The sections of `training`, one class each; the component that uses a section takes it as it is.

Names are those of diffusers' training scripts where they have one; conf/base/
parameters_training.yml says what each number means.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from dcr.parameters.section import Checked
from dcr.parameters.training.phases import LearningRateDecay, PullTo

Share = Annotated[float, Field(ge=0, le=1)]


class HeldOut(Checked):
    """The samples that are not trained on, and when the noise error on them is measured."""

    fraction: float = Field(gt=0, lt=1)
    num_samples: PositiveInt
    every_steps: PositiveInt


class Execution(Checked):
    """How a step is computed: the result does not depend on it but for rounding."""

    cache_features: bool
    constant_prompt: bool
    shared_prefix: bool
    folded_upsampling: bool
    split_gates: bool
    gradient_checkpointing: Literal["none", "auto", "tower", "all"]
    rows_per_chunk: int = Field(ge=0)
    channels_last: bool
    cuda_graphs: bool
    deterministic: bool
    num_workers: int = Field(ge=0)


class Processes(Checked):
    """How many processes and hosts train, and what they share."""

    num_processes: PositiveInt
    num_hosts: PositiveInt
    rendezvous_endpoint: str = Field(pattern=r"^\S+:\d{1,5}$")
    num_methods_at_once: PositiveInt
    sharding: Literal["none", "fsdp2"]

    @property
    def count(self) -> int:
        """Of the processes that train one method together, over all hosts."""
        return self.num_processes * self.num_hosts

    @field_validator("num_methods_at_once")
    @classmethod
    def _check_at_once(cls, value: int, info: ValidationInfo) -> int:
        count = info.data.get("num_processes", 1) * info.data.get("num_hosts", 1)
        if value > 1 and count > 1:
            raise ValueError(
                f"must be 1 where {count} processes train each method together (num_processes,"
                " num_hosts)"
            )
        return value


class CheckpointKeeping(Checked):
    """When a run is saved, how many checkpoints are kept, where it goes on from, and copies."""

    every_steps: PositiveInt
    total_limit: PositiveInt
    resume_from: str
    sync: str | None


class Monitoring(Checked):
    """What is shown of a run while it trains; it changes nothing."""

    report_to: list[Literal["dvclive", "tensorboard", "wandb", "mlflow"]]
    diagnostics_every_steps: int = Field(ge=0)
    contrast_diagnostics: bool
    images_every_steps: int = Field(ge=0)
    num_images: PositiveInt
    num_denoising_steps: PositiveInt


class Optimizer(Checked):
    """AdamW, clipping, and what becomes of steps without a finite gradient."""

    beta1: float = Field(ge=0, lt=1)
    beta2: float = Field(ge=0, lt=1)
    epsilon: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    max_skipped_steps: PositiveInt


class Stage(Checked):
    """How long a run trains, on how many samples a step and process, and how fast."""

    max_train_steps: PositiveInt
    train_batch_size: PositiveInt
    gradient_accumulation_steps: PositiveInt
    learning_rate: float = Field(gt=0)
    learning_rate_decay: LearningRateDecay


class Stage1(Stage):
    """Stage 1: the projector alone."""

    projector_file: str | None
    loss: Literal["reconstruction", "dcr"]


class Stage2(Stage):
    """Stage 2: the tower alone. A contrast needs two images."""

    train_batch_size: int = Field(ge=2)


class Batches(Checked):
    """How batches are drawn."""

    num_views: PositiveInt
    timestep_min: float = Field(ge=0, lt=1)
    timestep_max: float = Field(gt=0, le=1)
    snr_gamma: float = Field(ge=0)
    negatives_count: int = Field(ge=0)
    gather_negatives: bool

    @field_validator("timestep_max")
    @classmethod
    def _check_timesteps(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("timestep_min", 0.0):
            raise ValueError(f"must be > timestep_min {info.data['timestep_min']}")
        return value


class Loss(Checked):
    """Weights and temperature of the losses, whatever contrasts in them."""

    temperature: float = Field(gt=0)
    target_weight: Share
    reconstruction_share: Share
    base_embedding_weight: float = Field(ge=0)
    pull_to: PullTo
    negatives_gradient: bool
    contrast_weight: float = Field(ge=0)
    reconstruction_weight: float = Field(ge=0)


class Positives(Checked):
    """Where positives come from beside the views."""

    source: Literal["augmentation", "clip_neighbour", "synthetic"]
    clip_neighbour_rule: Literal[
        "add_new_positive", "drop_false_negative", "drop_easy_negative", "drop_false_positive"
    ]
    clip_neighbour_share: float = Field(gt=0, lt=1)
    synthetic_weight: float = Field(gt=0)


class Lora(Checked):
    """LoRA's numbers, and the kinds of layers that get it."""

    rank: PositiveInt
    alpha: float = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)
    bias: Literal["none", "lora_only", "all"]
    targets: list[Literal["q", "k", "v", "out", "mlp"]] = Field(min_length=1)


class Tuning(Checked):
    """What of the tower trains."""

    mode: Literal["lora", "full", "last_blocks"]
    num_blocks: PositiveInt
    lora: Lora

    def in_words(self) -> str:
        """Return how the tower trains, for a sentence."""
        words = {
            "lora": "with LoRA",
            "full": "as a whole",
            "last_blocks": f"in its last {self.num_blocks} blocks",
        }
        return words[self.mode]


class Views(Checked):
    """Strengths of the augmentation that makes the positive views."""

    brightness: Share
    contrast: Share
    saturation: Share
    hue: float = Field(ge=0, le=0.5)
    horizontal_flip: Share
    vertical_flip: Share
    scale_min: float = Field(gt=0, le=1)
    ratio_min: float = Field(gt=0, le=1)
    ratio_max: float = Field(ge=1)
