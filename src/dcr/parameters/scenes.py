"""The demo's world and its base models."""

from __future__ import annotations

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from dcr.parameters.section import Section


class ScenesParameters(Section):
    """The demo's rendered world: how large its pictures are and how many of them each set has."""

    seed: int
    n_jobs: int = Field(ge=-1)
    image_size: int = Field(ge=16)
    num_train_images: PositiveInt
    images_per_shard: PositiveInt
    caption_class_probability: float = Field(ge=0, le=1)
    caption_detail_probability: float = Field(ge=0, le=1)
    mmvp_pairs_per_type: PositiveInt
    num_classification_train: PositiveInt
    num_classification_test: PositiveInt
    num_segmentation_train: PositiveInt
    num_segmentation_test: PositiveInt
    num_retrieval_images: PositiveInt
    captions_per_retrieval_image: PositiveInt
    retrieval_detail_probability: float = Field(ge=0, le=1)


class PretrainingParameters(Section):
    """The demo's own small CLIP, VAE and UNet: their sizes and how they are trained."""

    seed: int
    image_size: PositiveInt
    num_held_out: int = Field(ge=2)
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
    unet_text_width: PositiveInt
    unet_text_layers: PositiveInt
    empty_prompt_share: float = Field(gt=0, lt=1)
    unet_steps: PositiveInt
    unet_batch_size: PositiveInt
    unet_learning_rate: float = Field(gt=0)
    check_draws: PositiveInt
    check_condition: bool
    min_known_details: int = Field(ge=0, le=9)

    @field_validator("clip_vision_width", "clip_text_width", "unet_text_width")
    @classmethod
    def _check_width(cls, value: int, info: ValidationInfo) -> int:
        head_width = info.data.get("clip_head_width", 1)
        if value % head_width:
            raise ValueError(f"must be a multiple of clip_head_width {head_width}")
        return value
