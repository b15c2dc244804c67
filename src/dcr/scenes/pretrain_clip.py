"""The demo's small CLIP: an open_clip model of a custom size, trained on the shards' captions."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.loss import ClipLoss

from dcr.models.backbones import Backbone
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from dcr.parameters import PretrainingParameters
from dcr.scenes.pretrain_data import ImageSet, only_used_tokens, optimise, seeded

_PREPROCESSING = {
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def build_clip(parameters: PretrainingParameters) -> Backbone:
    """Return an untrained open_clip CLIP, as large as ``parameters`` tell.

    It has the usual byte-pair tokenizer.
    """
    vision = {
        "image_size": parameters.image_size,
        "patch_size": parameters.clip_patch_size,
        "width": parameters.clip_vision_width,
        "layers": parameters.clip_vision_layers,
        "head_width": parameters.clip_head_width,
    }
    text = {
        "context_length": parameters.clip_context_length,
        "width": parameters.clip_text_width,
        "layers": parameters.clip_text_layers,
        "heads": parameters.clip_text_width // parameters.clip_head_width,
    }
    model: dict[str, Any] = {
        "embed_dim": parameters.clip_embed_dim,
        "vision_cfg": vision,
        "text_cfg": text,
    }
    return OpenClipBackbone.build(model, _PREPROCESSING)


def train_clip(images: ImageSet, parameters: PretrainingParameters) -> Backbone:
    """Train image and text tower with CLIP's contrastive loss (open_clip's own), in float32.

    Args:
        images: with the captions that they are trained on.
        parameters: sizes, steps, batch size, learning rate and seed.

    Source: Radford et al., arXiv 2103.00020.
    """
    backbone = seeded(lambda: build_clip(parameters), parameters.seed, "clip")
    contrast = ClipLoss()
    with only_used_tokens(backbone.model, backbone.tokenize(images.captions)) as tokens:

        def batch_loss(indices: torch.Tensor) -> torch.Tensor:
            """Return the contrastive loss among the pairs at ``indices``, (batch size,) int64."""
            pixels = backbone.preprocessing.normalize(images.pixels(indices))
            loss: torch.Tensor = contrast(*backbone.model(pixels, tokens[indices]))
            return loss

        optimise(
            backbone.model,
            batch_loss,
            len(images),
            parameters.clip_steps,
            parameters.clip_batch_size,
            parameters.clip_learning_rate,
            parameters.seed,
            "clip",
        )
    return backbone
