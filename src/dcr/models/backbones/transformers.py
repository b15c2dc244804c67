"""Backbones from transformers: folders that hold a CLIPModel or a SiglipModel."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedConfig,
    PreTrainedModel,
    SiglipImageProcessor,
    SiglipModel,
)
from transformers.activations import ACT2FN

from dcr.data.hub_files import WEIGHTS
from dcr.data.transforms import Preprocessing, checked_preprocessing
from dcr.errors import UserError
from dcr.models.backbones.base import Backbone
from dcr.models.backbones.projection import Projection
from dcr.models.model_configs import check_numbers, first_line, load_tokenizer, pick, read_json
from dcr.models.weights import find_weights, fit, read_weights

_MODELS = {"clip": CLIPModel, "siglip": SiglipModel}
_PROCESSORS = {"clip": CLIPImageProcessor, "siglip": SiglipImageProcessor}
_RESAMPLE = {2: "bilinear", 3: "bicubic"}
_PROCESSOR = "preprocessor_config.json"
_PROCESSOR_KEYS = (
    *(
        "size",
        "crop_size",
        "do_resize",
        "do_center_crop",
        "do_rescale",
        "do_normalize",
        "resample",
        "rescale_factor",
    ),
    *("image_mean", "image_std"),
)
_TOP = ("projection_dim", "logit_scale_init_value", "initializer_factor")
_PARTS = ("text_config", "vision_config", "text_config_dict", "vision_config_dict")
_IDS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)  # SigLIP's defaults lie outside of its own vocabulary
_TOWER = (
    *("hidden_size", "intermediate_size", "projection_dim", "projection_size", "num_hidden_layers"),
    *(
        "num_attention_heads",
        "num_channels",
        "image_size",
        "patch_size",
        "vocab_size",
        "max_position_embeddings",
    ),
    *(
        "hidden_act",
        "layer_norm_eps",
        "attention_dropout",
        "dropout",
        "initializer_range",
        "initializer_factor",
    ),
    *("vision_use_head", *_IDS),
)


class TransformersTower(nn.Module):
    """Vision model, pooling and projection as one module: normalised pixels (B, 3, H, H) to
    embedding (B, d).
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.vision_model = model.vision_model
        self.visual_projection = getattr(model, "visual_projection", nn.Identity())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the pooled and, for CLIP, projected embedding of normalised ``pixels``."""
        return self.visual_projection(self.vision_model(pixel_values=pixels).pooler_output)


class TransformersBackbone(Backbone):
    """A backbone around a transformers CLIPModel or SiglipModel.

    Args:
        model: with image and text tower, on any device.
        preprocessing: how images become its input.
        folder: where it was loaded from; its tokenizer is read from there at first use.
    """

    def __init__(self, model: PreTrainedModel, preprocessing: Preprocessing, folder: Path) -> None:
        vision = model.config.vision_config
        embed_dim = (
            model.config.projection_dim if isinstance(model, CLIPModel) else vision.hidden_size
        )
        tokenizer = partial(load_tokenizer, folder)
        super().__init__(
            model, TransformersTower(model), preprocessing, embed_dim, tokenizer, str(folder)
        )
        self._num_patches = (vision.image_size // vision.patch_size) ** 2

    def encode_tokens(
        self, pixels: torch.Tensor, layer: int = -2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Backbone.encode_tokens`: ``pixels`` (B, 3, H, H) in [0, 1], ``layer`` counted
        from the end.
        """
        pixels = self.preprocessing.normalize(pixels)
        outputs = self.visual.vision_model(pixel_values=pixels, output_hidden_states=True)
        embeddings = self.visual.visual_projection(outputs.pooler_output)
        return embeddings, outputs.hidden_states[layer][:, -self._num_patches :]

    def image_projection(self) -> Projection | None:
        """See `Backbone.image_projection`; SigLIP's tower ends in its pooling."""
        layer = getattr(self.model, "visual_projection", None)
        return None if layer is None else Projection.of(layer, "visual_projection")

    def text_projection(self) -> Projection:
        """See `Backbone.text_projection`."""
        if isinstance(self.model, CLIPModel):
            return Projection.of(self.model.text_projection, "text_projection")
        return Projection.of(self.model.text_model.head, "text_model.head")

    def enable_gradient_checkpointing(self) -> None:
        """See `Backbone.enable_gradient_checkpointing`."""
        self.model.gradient_checkpointing_enable({"use_reentrant": False})

    def _tokenize(self, tokenizer: Any, texts: list[str]) -> torch.Tensor:
        """Pad to the context length, as SigLIP was trained and CLIP does not mind."""
        length = self.model.config.text_config.max_position_embeddings
        tokens = tokenizer(
            texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        return tokens.input_ids

    @property
    def vocab_size(self) -> int:
        """See `Backbone.vocab_size`."""
        return self.model.config.text_config.vocab_size

    def count_tokens(self, texts: list[str]) -> list[int]:
        """See `Backbone.count_tokens`; ``texts`` are not cut before they are counted."""
        return [len(ids) for ids in self.tokenizer(list(texts)).input_ids]

    def _encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        pooled = self.model.text_model(input_ids=tokens).pooler_output
        return self.model.text_projection(pooled) if isinstance(self.model, CLIPModel) else pooled


def load_transformers(folder: Path, device: str | torch.device) -> TransformersBackbone:
    """Load a CLIPModel or SiglipModel in float32; UserError where it cannot be.

    Args:
        folder: holds safetensors, or ``pytorch_model.bin``, which is read as tensors alone.
        device: where the model goes.
    """
    config, weights = _read_folder(folder)
    state = _fitted(folder, config, read_weights(weights), weights)
    model = _MODELS[config.model_type].from_pretrained(
        None,
        config=config,
        state_dict=state,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
    )
    return TransformersBackbone(model, _preprocessing(folder, config), folder).to(device)


def check_transformers(folder: Path) -> None:
    """Compare configuration and weights in ``folder`` unloaded; UserError where they do not
    make a model.
    """
    config, weights = _read_folder(folder)
    _fitted(folder, config, read_weights(weights, only_shapes=True), weights)
    _preprocessing(folder, config)


def _read_folder(folder: Path) -> tuple[PreTrainedConfig, Path]:
    path = folder / "config.json"
    config = read_json(path)
    model_type = config.get("model_type")
    if model_type not in _MODELS:
        raise UserError(
            f"Backbone folder {folder}: config.json has model_type {model_type!r}, supported are"
            f" {', '.join(_MODELS)}."
        )
    parts = pick(config, (*_PARTS, *_TOP), path)
    parts |= {name: pick(parts[name] or {}, _TOWER, path) for name in _PARTS if name in parts}
    for name, part in parts.items():
        if name in _PARTS and part.get("hidden_act", "gelu") not in ACT2FN:
            raise UserError(
                f"{path}: {name} has hidden_act {part['hidden_act']!r}, which transformers does not"
                " know"
            )
    try:
        built = _MODELS[model_type].config_class(**parts)
    except Exception as error:  # whatever foreign values may raise
        raise UserError(
            f"{path} cannot be read by transformers ({first_line(error)}): replace it"
        ) from error
    return built, find_weights(folder, WEIGHTS["transformers"])


def _fitted(
    folder: Path, config: PreTrainedConfig, state: dict[str, torch.Tensor], weights: Path
) -> dict[str, torch.Tensor]:
    """Return the state under the model's names; what cannot be a model of these weights is
    refused unbuilt.
    """
    path = folder / "config.json"
    for part in (config.text_config, config.vision_config):
        check_numbers(
            {key: getattr(part, key, None) for key in _TOWER if key not in _IDS}, state, path
        )
    try:
        with torch.device("meta"):
            model = _MODELS[config.model_type](config)
    except Exception as error:  # whatever foreign values may raise
        raise UserError(
            f"{path} cannot be built by transformers ({first_line(error)}): replace it"
        ) from error
    return fit(state, model, weights)


def _preprocessing(folder: Path, config: PreTrainedConfig) -> Preprocessing:
    """Read the image processor's configuration; it must say exactly what the tower takes."""
    path = folder / _PROCESSOR
    if not path.is_file():
        raise UserError(
            f"Backbone folder {folder} has no {_PROCESSOR}, so mean and std are unknown: add the"
            " model's"
        )
    stated = read_json(path)
    name = str(
        stated.get("image_processor_type")
        or stated.get("feature_extractor_type")
        or config.model_type
    ).lower()
    family = next((family for family in _PROCESSORS if name.startswith(family)), None)
    if family is None:
        raise UserError(
            f"{path} is of an image processor {name!r}, supported are those of CLIP and SigLIP"
        )
    try:
        processor = _PROCESSORS[family](**pick(stated, _PROCESSOR_KEYS, path)).to_dict()
        resample = int(processor["resample"])
    except Exception as error:  # whatever foreign values may raise
        raise UserError(
            f"{path} cannot be read by transformers ({first_line(error)}): add the model's"
        ) from error
    _check_steps(processor, path)
    interpolation = _RESAMPLE.get(resample)
    if interpolation is None:
        raise UserError(
            f"{path} has resample {resample}, supported are 2 (bilinear) and 3 (bicubic)."
        )
    image_size = config.vision_config.image_size
    resize_mode = _resize_mode(processor, image_size, path)
    mean = processor["image_mean"]
    std = processor["image_std"]
    return checked_preprocessing(image_size, mean, std, interpolation, resize_mode, path)


def _check_steps(processor: dict[str, Any], path: Path) -> None:
    """Refuse an image processor that leaves out a step, or scales pixels to another range than
    [0, 1].
    """
    left_out = [
        step
        for step in ("do_resize", "do_rescale", "do_normalize")
        if not processor.get(step, True)
    ]
    factor = processor.get("rescale_factor", 1 / 255)
    if left_out or not isinstance(factor, float) or not math.isclose(factor, 1 / 255, rel_tol=1e-6):
        told = (
            f"sets {', '.join(left_out)} to false"
            if left_out
            else f"has the rescale_factor {factor}"
        )
        raise UserError(
            f"{path} {told}; only images resized, scaled to [0, 1] and normalised are supported"
        )


def _resize_mode(processor: dict[str, Any], image_size: int, path: Path) -> str:
    size, crop = (processor.get(key) or {} for key in ("size", "crop_size"))
    square = {"height": image_size, "width": image_size}
    if (
        size.get("shortest_edge") == image_size
        and processor.get("do_center_crop")
        and _is(crop, square)
    ):
        return "shortest"
    if _is(size, square) and (not processor.get("do_center_crop") or _is(crop, square)):
        return "squash"
    raise UserError(
        f"{path} resizes to {size} and crops to {crop}, but the image tower takes {image_size} px:"
        " make both agree with the tower."
    )


def _is(size: dict[str, Any], expected: dict[str, int]) -> bool:
    return all(size.get(side) == pixels for side, pixels in expected.items())
