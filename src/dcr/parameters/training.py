"""Both stages of training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dcr.parameters.phases import LearningRateDecay, Method, Phase, Phases, PullTo
from dcr.parameters.section import Section
from dcr.parameters.signals import SignalParameters

PUBLISHED = {
    **dict.fromkeys(
        [
            *(
                "published_views",
                "published_normalization",
                "published_prompt_mask",
                "published_noise",
            ),
            *("published_target", "published_loss", "published_sampling", "published_reduction"),
        ],
        True,
    ),
    "view_horizontal_flip": 0.5,
    "view_vertical_flip": 0.5,
    "view_ratio_min": 0.9,
}
"""What ``published: true`` stands for."""

WITHOUT_EFFECT = frozenset(
    [
        *(
            "num_workers",
            "num_methods_at_once",
            "rendezvous_endpoint",
            "max_skipped_steps",
            "checkpointing_steps",
        ),
        *(
            "sharding",
            "resume_from_checkpoint",
            "rows_per_chunk",
            "constant_prompt",
            "shared_prefix",
            "batched_views",
        ),
        *("gradient_checkpointing", "validate_every_steps", "report_to", "diagnostics_every_steps"),
        *(
            "contrast_diagnostics",
            "images_every_steps",
            "num_images",
            "num_denoising_steps",
            "checkpoints_total_limit",
        ),
    ]
)
"""How a run is walked, watched, kept and shared out: parameters that change its result by
rounding at most.
"""


class TrainingParameters(SignalParameters, Section):
    """Both stages of training; the names are those of diffusers' training scripts where they
    have one.
    """

    seed: int
    stage2_seeds: list[Annotated[int, Field(ge=0)]]
    phases: Phases
    method: Method
    baselines: list[Method]
    validation_fraction: float = Field(gt=0, lt=1)
    num_validation_samples: PositiveInt
    validate_every_steps: PositiveInt
    mixed_precision: Literal["no", "bf16", "fp16"]
    num_workers: int = Field(ge=0)
    gradient_accumulation_steps: PositiveInt
    num_processes: PositiveInt
    num_hosts: PositiveInt
    num_methods_at_once: PositiveInt
    sharding: Literal["none", "fsdp2"]
    rendezvous_endpoint: str = Field(pattern=r"^\S+:\d{1,5}$")
    gather_negatives: bool
    checkpointing_steps: PositiveInt
    checkpoints_total_limit: PositiveInt
    resume_from_checkpoint: str
    constant_prompt: bool
    shared_prefix: bool
    batched_views: bool
    gradient_checkpointing: Literal["none", "tower", "all"]
    compile: bool
    max_skipped_steps: PositiveInt
    report_to: list[Literal["dvclive", "tensorboard", "wandb", "mlflow"]]
    diagnostics_every_steps: int = Field(ge=0)
    images_every_steps: int = Field(ge=0)
    num_images: PositiveInt
    num_denoising_steps: PositiveInt
    adam_beta1: float = Field(ge=0, lt=1)
    adam_beta2: float = Field(ge=0, lt=1)
    adam_epsilon: float = Field(gt=0)
    adam_weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    stage1_projector_file: str | None
    stage1_loss: Literal["reconstruction", "dcr"]
    stage1_max_train_steps: PositiveInt
    stage1_train_batch_size: PositiveInt
    stage1_learning_rate: float = Field(gt=0)
    stage1_learning_rate_decay: LearningRateDecay
    stage2_max_train_steps: PositiveInt
    stage2_train_batch_size: int = Field(ge=2)
    stage2_learning_rate: float = Field(gt=0)
    stage2_learning_rate_decay: LearningRateDecay
    end_to_end_max_train_steps: PositiveInt
    condition: Literal["broadcast", "patch_tokens"]
    num_views: PositiveInt
    temperature: float = Field(gt=0)
    target_weight: float = Field(ge=0, le=1)
    reconstruction_share: float = Field(ge=0, le=1)
    base_embedding_weight: float = Field(ge=0)
    pull_to: PullTo
    timestep_min: float = Field(ge=0, lt=1)
    timestep_max: float = Field(gt=0, le=1)
    snr_gamma: float = Field(ge=0)
    negatives_count: int = Field(ge=0)
    negatives_gradient: bool
    rows_per_chunk: int = Field(ge=0)
    contrast_weight: float = Field(ge=0)
    reconstruction_weight: float = Field(ge=0)
    tuning: Literal["lora", "full", "last_blocks"]
    num_tuned_blocks: PositiveInt
    lora_rank: PositiveInt
    lora_alpha: float = Field(gt=0)
    lora_dropout: float = Field(ge=0, lt=1)
    lora_bias: Literal["none", "lora_only", "all"]
    lora_targets: list[Literal["q", "k", "v", "out", "mlp"]] = Field(min_length=1)
    view_brightness: float = Field(ge=0, le=1)
    view_contrast: float = Field(ge=0, le=1)
    view_saturation: float = Field(ge=0, le=1)
    view_hue: float = Field(ge=0, le=0.5)
    view_horizontal_flip: float = Field(ge=0, le=1)
    view_vertical_flip: float = Field(ge=0, le=1)
    view_scale_min: float = Field(gt=0, le=1)
    view_ratio_min: float = Field(gt=0, le=1)
    view_ratio_max: float = Field(ge=1)
    published: bool
    published_views: bool
    published_normalization: bool
    published_prompt_mask: bool
    published_noise: bool
    published_target: bool
    published_loss: bool
    published_sampling: bool
    published_reduction: bool

    @model_validator(mode="before")
    @classmethod
    def _publish(cls, values: Any) -> Any:
        published = isinstance(values, dict) and values.get("published") is True
        return values | PUBLISHED if published else values

    @model_validator(mode="after")
    def _check_phases(self) -> TrainingParameters:
        """Refuse phases whose numbers do not go with each other or with the recipe's."""
        for method, phases in self.phases.items():
            for place, phase in enumerate(phases):
                try:
                    self.of_phase(phase, self.seed)
                except ValidationError as exc:
                    error = exc.errors()[0]
                    rule = error["msg"].removeprefix("Value error, ")
                    where = f"phases.{method}.{place}.{error['loc'][0]}"
                    raise ValueError(
                        f"{where} {rule}, got {error['input']!r} with the recipe's other numbers"
                    ) from exc
        for method in (self.method, *self.baselines):
            phases = self.phases.get(method, [])
            if self.published and (len(phases) > 1 or any(phase.own_numbers() for phase in phases)):
                raise ValueError(
                    f"published: true is one phase of the recipe's numbers, but phases.{method}"
                    " says otherwise: train another method, or set published to false"
                )
        return self

    def of_phase(self, phase: Phase, seed: int) -> TrainingParameters:
        """Return the parameters as ``phase`` sees them: with its own numbers and ``seed``, and
        without any phases.
        """
        alone = {"method": phase.objective, "baselines": [], "phases": {}, "stage2_seeds": []}
        return type(self).model_validate(
            self.model_dump() | phase.own_numbers() | alone | {"seed": seed}
        )

    @field_validator("stage2_seeds")
    @classmethod
    def _check_seeds(cls, value: list[int], info: ValidationInfo) -> list[int]:
        if len({info.data.get("seed"), *value}) <= len(value):
            raise ValueError("must be seeds that differ from each other and from training.seed")
        return value

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

    @field_validator("timestep_max")
    @classmethod
    def _check_timesteps(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("timestep_min", 0.0):
            raise ValueError(f"must be > timestep_min {info.data['timestep_min']}")
        return value

    @field_validator("sharding")
    @classmethod
    def _check_sharding(cls, value: str, info: ValidationInfo) -> str:
        if value == "fsdp2" and info.data.get("mixed_precision") == "fp16":
            raise ValueError(
                "must be none with mixed_precision fp16, whose loss scale each process would find"
                " by itself"
            )
        return value

    @field_validator("published_loss")
    @classmethod
    def _check_loss(cls, value: bool, info: ValidationInfo) -> bool:
        neutral = {"target_weight": 0.5, "num_views": 1, "negatives_count": 0}
        changed = [
            name for name, setting in neutral.items() if info.data.get(name, setting) != setting
        ]
        if value and changed:
            raise ValueError(
                f"must be false with {' and '.join(changed)}, which the published loss does not"
                " know"
            )
        return value

    @field_validator("published_sampling")
    @classmethod
    def _check_sampling(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("gather_negatives"):
            raise ValueError(
                "must be false with gather_negatives, which would contrast an image with itself"
            )
        return value
