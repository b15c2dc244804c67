"""Backbones from transformers: folders that hold a CLIPModel or a SiglipModel."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel, PreTrainedModel, SiglipModel

from dcr.backbones.base import Backbone, Preprocessing
from dcr.errors import UserError

_MODELS = {"clip": CLIPModel, "siglip": SiglipModel}
_RESAMPLE = {2: "bilinear", 3: "bicubic"}


class TransformersTower(nn.Module):
    """Vision model, pooling and projection as one module: normalised pixels (B, 3, H, H) to embedding (B, d)."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.vision_model = model.vision_model
        self.visual_projection = getattr(model, "visual_projection", nn.Identity())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the pooled and, for CLIP, projected embedding."""
        return self.visual_projection(self.vision_model(pixel_values=pixels).pooler_output)


class TransformersBackbone(Backbone):
    """A backbone around a transformers CLIPModel or SiglipModel."""

    def __init__(self, model: PreTrainedModel, preprocessing: Preprocessing, folder: Path) -> None:
        vision = model.config.vision_config
        embed_dim = model.config.projection_dim if isinstance(model, CLIPModel) else vision.hidden_size
        load_tokenizer = partial(AutoTokenizer.from_pretrained, folder, local_files_only=True)
        super().__init__(model, TransformersTower(model), preprocessing, embed_dim, load_tokenizer, str(folder))
        self._num_patches = (vision.image_size // vision.patch_size) ** 2

    def encode_tokens(self, pixels: torch.Tensor, layer: int = -2) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Backbone.encode_tokens`."""
        pixels = self.preprocessing.normalize(pixels)
        outputs = self.visual.vision_model(pixel_values=pixels, output_hidden_states=True)
        embeddings = self.visual.visual_projection(outputs.pooler_output)
        return embeddings, outputs.hidden_states[layer][:, -self._num_patches :]

    def enable_gradient_checkpointing(self) -> None:
        """See `Backbone.enable_gradient_checkpointing`."""
        self.model.gradient_checkpointing_enable({"use_reentrant": False})

    def tokenize(self, texts: list[str]) -> torch.Tensor:
        """See `Backbone.tokenize`; padded to the context length, as SigLIP was trained and CLIP does not mind."""
        return self.tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).input_ids

    def _encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        pooled = self.model.text_model(input_ids=tokens).pooler_output
        return self.model.text_projection(pooled) if isinstance(self.model, CLIPModel) else pooled


def load_transformers(folder: Path, device: str | torch.device) -> TransformersBackbone:
    """Load a CLIPModel or SiglipModel folder; safetensors, or ``torch.load(weights_only=True)`` by transformers."""
    model_type = _model_type(folder)
    if model_type not in _MODELS:
        raise UserError(
            f"Backbone folder {folder} holds a model of type {model_type}; supported are {', '.join(_MODELS)}."
        )
    try:
        model, report = _MODELS[model_type].from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    except Exception as exc:  # whatever a foreign file may raise
        raise UserError(f"Backbone folder {folder} cannot be loaded by transformers: {exc}") from exc
    if report["missing_keys"]:  # transformers fills them with random values and only warns
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise UserError(f"Backbone folder {folder} lacks weights that its config.json needs: {missing}.")
    return TransformersBackbone(model, _preprocessing(folder, model), folder).to(device)


def _model_type(folder: Path) -> Any:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise UserError(f"Backbone folder {folder} has a config.json without a model_type: replace it.") from exc


def _preprocessing(folder: Path, model: PreTrainedModel) -> Preprocessing:
    """Read the image processor's configuration; it must say exactly what the tower takes."""
    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True).to_dict()
    except Exception as exc:  # whatever a foreign file may raise
        raise UserError(
            f"Backbone folder {folder} has no readable preprocessor_config.json, so mean, std and size are unknown: "
            f"add the one that came with the model."
        ) from exc
    image_size = model.config.vision_config.image_size
    size, crop = (processor.get(key) or {} for key in ("size", "crop_size"))
    square = {"height": image_size, "width": image_size}
    if size.get("shortest_edge") == image_size and processor.get("do_center_crop") and _is(crop, square):
        resize_mode = "shortest"
    elif _is(size, square) and (not processor.get("do_center_crop") or _is(crop, square)):
        resize_mode = "squash"
    else:
        raise UserError(
            f"Backbone folder {folder}: preprocessor_config.json resizes to {size} and crops to {crop}, but the image "
            f"tower takes {image_size} px: make both agree with the tower."
        )
    interpolation = _RESAMPLE.get(int(processor["resample"]))
    if interpolation is None:
        raise UserError(
            f"Backbone folder {folder}: preprocessor_config.json has resample {processor['resample']}, supported are "
            f"2 (bilinear) and 3 (bicubic)."
        )
    mean, std = tuple(processor["image_mean"]), tuple(processor["image_std"])
    return Preprocessing(image_size, mean, std, interpolation, resize_mode)


def _is(size: dict[str, Any], expected: dict[str, int]) -> bool:
    return all(size.get(side) == pixels for side, pixels in expected.items())
