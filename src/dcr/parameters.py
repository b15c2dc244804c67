"""Every parameter a recipe may set: one flat, typed class per section, nothing optional, nothing unknown.

Values stand in ``conf/<recipe>/parameters_<section>.yml``; nodes get them as these objects from ``params:<section>``.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, ValidationInfo, field_validator

from dcr.errors import UserError
from dcr.validation.reasons import REASONS

Method = Literal["dcr", "reconstruction", "naive"]
Policy = Literal["accept", "warn", "reject", "fail"]


class Section(BaseModel):
    """A section of parameters: read-only, without defaults; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def build_parameters(parameters: dict[str, Any]) -> dict[str, Section]:
    """Return every section of a recipe as its class, by name.

    Raises:
        UserError: naming the first key that is unknown, missing or of the wrong type.
    """
    sections = {cls.__name__.removesuffix("Parameters").lower(): cls for cls in Section.__subclasses__()}
    for name in parameters:
        if name not in sections:
            raise UserError(f"unknown parameter {name!r}{_did_you_mean(name, list(sections))}; see conf/base")
    return {name: _build(name, cls, parameters.get(name, {})) for name, cls in sections.items()}


def _build(name: str, cls: type[Section], values: Any) -> Section:
    try:
        return cls.model_validate(values)
    except ValidationError as exc:
        raise UserError(_explain(name, cls, exc)) from exc


def _explain(section: str, cls: type[Section], exc: ValidationError) -> str:
    error = exc.errors()[0]
    key = ".".join([section, *map(str, error["loc"])])
    if error["type"] == "extra_forbidden":
        return f"unknown parameter {key!r}{_did_you_mean(str(error['loc'][-1]), list(cls.model_fields))}; see conf/base"
    if error["type"] == "missing":
        return f"parameter {key!r} is missing; see conf/base/parameters_{section}.yml"
    rule = error["msg"][0].lower() + error["msg"][1:]
    return f"parameter {key!r}: {rule}, got {error['input']!r}; see conf/base/parameters_{section}.yml"


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


class ScenesParameters(Section):
    """The demo's rendered world: how large its pictures are and how many of them each set has."""

    seed: int
    image_size: int = Field(ge=16)
    num_train_images: PositiveInt
    images_per_shard: PositiveInt
    caption_class_probability: float = Field(ge=0, le=1)
    caption_detail_probability: float = Field(ge=0, le=1)
    mmvp_pairs_per_type: PositiveInt
    num_classification_train: PositiveInt
    num_classification_test: PositiveInt
    num_retrieval_images: PositiveInt
    captions_per_retrieval_image: PositiveInt
    retrieval_detail_probability: float = Field(ge=0, le=1)


class RecipeParameters(Section):
    """What the model cards say of the recipe."""

    name: str
    licence: str


class LatentsParameters(Section):
    """How samples become cached latents."""

    mode: Literal["cache", "online"]
    crop_mode: Literal["random", "center"]
    crops_per_image: PositiveInt
    crop_scale_min: float = Field(gt=0, le=1)
    crop_scale_max: float = Field(gt=0, le=1)
    crop_horizontal_flip: float = Field(ge=0, le=1)
    dtype: Literal["float32", "float16", "bfloat16"]
    mixed_precision: Literal["no", "bf16", "fp16"]
    batch_size: PositiveInt
    num_workers: int = Field(ge=0)
    channels_last: bool
    compile: bool
    check_images: bool
    num_ranks: PositiveInt
    rank: int = Field(ge=0)

    @field_validator("crops_per_image")
    @classmethod
    def _center_is_one_crop(cls, count: int, info: ValidationInfo) -> int:
        if count > 1 and info.data.get("crop_mode") == "center":
            raise ValueError("must be 1, because an image has one center crop")
        return count

    @field_validator("crop_scale_max")
    @classmethod
    def _range_is_ordered(cls, maximum: float, info: ValidationInfo) -> float:
        if maximum < info.data.get("crop_scale_min", 0):
            raise ValueError("must not be below crop_scale_min")
        return maximum


class VerifyParameters(Section):
    """How the latent cache is checked, and whether what fails is made again."""

    num_samples: int = Field(ge=0)
    seed: int
    tolerance: float = Field(gt=0)
    repair: bool


class TrainingParameters(Section):
    """Both stages of training; the names are those of diffusers' training scripts where they have one."""

    seed: int
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
    rendezvous_endpoint: str
    gather_negatives: bool
    checkpointing_steps: PositiveInt
    checkpoints_total_limit: PositiveInt
    resume_from_checkpoint: str
    constant_prompt: bool
    shared_prefix: bool
    max_skipped_steps: PositiveInt
    adam_beta1: float = Field(ge=0, lt=1)
    adam_beta2: float = Field(ge=0, lt=1)
    adam_epsilon: float = Field(gt=0)
    adam_weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    stage1_loss: Literal["reconstruction", "dcr"]
    stage1_max_train_steps: PositiveInt
    stage1_train_batch_size: PositiveInt
    stage1_learning_rate: float = Field(gt=0)
    stage2_max_train_steps: PositiveInt
    stage2_train_batch_size: int = Field(ge=2)
    stage2_learning_rate: float = Field(gt=0)
    temperature: float = Field(gt=0)
    rows_per_chunk: PositiveInt
    contrast_weight: float = Field(ge=0)
    reconstruction_weight: float = Field(ge=0)
    lora_rank: PositiveInt
    lora_alpha: float = Field(gt=0)
    lora_dropout: float = Field(ge=0, lt=1)
    lora_bias: Literal["none", "lora_only"]
    view_brightness: float = Field(ge=0, le=1)
    view_contrast: float = Field(ge=0, le=1)
    view_saturation: float = Field(ge=0, le=1)
    view_hue: float = Field(ge=0, le=0.5)
    view_horizontal_flip: float = Field(ge=0, le=1)
    view_vertical_flip: float = Field(ge=0, le=1)
    view_scale_min: float = Field(gt=0, le=1)
    view_ratio_max: float = Field(ge=1)


class PretrainingParameters(Section):
    """The demo's own small CLIP, VAE and UNet: their sizes and how they are trained."""

    seed: int
    image_size: PositiveInt
    num_held_out: PositiveInt
    clip_embed_dim: PositiveInt
    clip_patch_size: PositiveInt
    clip_head_width: PositiveInt
    clip_vision_width: PositiveInt
    clip_vision_layers: PositiveInt
    clip_text_width: PositiveInt
    clip_text_layers: PositiveInt
    clip_context_length: PositiveInt
    clip_steps: PositiveInt
    clip_batch_size: int = Field(ge=2)
    clip_learning_rate: float = Field(gt=0)
    latent_channels: PositiveInt
    vae_block_channels: list[PositiveInt] = Field(min_length=1)
    vae_kl_weight: float = Field(ge=0)
    vae_steps: PositiveInt
    vae_batch_size: PositiveInt
    vae_learning_rate: float = Field(gt=0)
    unet_block_channels: list[PositiveInt] = Field(min_length=1)
    unet_num_heads: PositiveInt
    empty_prompt_share: float = Field(gt=0, lt=1)
    unet_steps: PositiveInt
    unet_batch_size: PositiveInt
    unet_learning_rate: float = Field(gt=0)
    check_draws: PositiveInt
    check_condition: bool


class EvaluationParameters(Section):
    """Which sets are evaluated and how sure the scores are."""

    sets: list[Literal["mmvp_vlm", "classification", "retrieval"]] = Field(min_length=1)
    model_name: str
    language: str
    batch_size: PositiveInt
    kmeans_seeds: list[int] = Field(min_length=1)
    kmeans_num_init: PositiveInt
    num_neighbours: PositiveInt
    probe_inverse_regularization: float = Field(gt=0)
    probe_max_iterations: PositiveInt
    recall_at: list[PositiveInt] = Field(min_length=1)
    num_resamples: PositiveInt
    confidence: float = Field(gt=0, lt=1)
    seed: int


class IngestParameters(Section):
    """Which images and captions become shards, and how large those are."""

    images: str
    table: str | None
    path_column: str
    caption_column: str | None
    max_shard_megabytes: PositiveInt


class ValidationParameters(Section):
    """How shards are read, when an image is wrong, and what follows from each thing that can be wrong."""

    n_jobs: int = Field(ge=-1)
    backend: Literal["loky", "threading", "dask", "ray"]
    cluster: str | None
    min_image_size: PositiveInt
    max_aspect_ratio: float = Field(ge=1)
    max_image_pixels: int = Field(gt=0, le=178_956_970)  # beyond it Pillow refuses to open an image
    min_luminance_spread: float = Field(ge=0)
    tokenizer: str | None
    context_length: PositiveInt
    near_duplicate_distance: int = Field(ge=-1, le=15)
    evaluation_sets: list[Literal["mmvp_vlm", "classification", "retrieval"]]
    evaluation_image_distance: int = Field(ge=0, le=15)
    num_examples: int = Field(ge=0)
    policies: dict[str, Policy]

    @field_validator("policies")
    @classmethod
    def _names_every_reason(cls, policies: dict[str, Policy]) -> dict[str, Policy]:
        for name in policies.keys() - REASONS.keys():
            raise ValueError(f"unknown reason {name!r}{_did_you_mean(name, list(REASONS))}")
        for name in REASONS.keys() - policies.keys():
            raise ValueError(f"no policy for reason {name!r}")
        return policies


class ReportingParameters(Section):
    """What the page shows, and by which measures its headline judges."""

    seed: int
    headline_measures: list[str] = Field(min_length=1)
    detail_measures: list[str] = Field(min_length=1)
    separation_measure: str
    num_flipped_pairs: PositiveInt
    num_reconstructions: PositiveInt
    num_denoising_steps: PositiveInt
    guidance_scale: float = Field(gt=0)
    loss_window: PositiveInt
    notes: list[str]
