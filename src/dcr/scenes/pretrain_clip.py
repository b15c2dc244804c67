"""The demo's small CLIP: an open_clip model of a custom size, trained on the captions of the rendered shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from open_clip.loss import ClipLoss
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from dcr.backbones import Backbone
from dcr.backbones.open_clip import build_open_clip
from dcr.convert import to_clip_text_model
from dcr.parameters import PretrainingParameters
from dcr.scenes.pretrain_data import ImageSet, optimise, seeded
from dcr.tokenizers import write_clip_tokenizer

_PREPROCESSING = {
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def build_clip(parameters: PretrainingParameters) -> Backbone:
    """Return an untrained open_clip CLIP with the usual byte-pair tokenizer."""
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
    model: dict[str, Any] = {"embed_dim": parameters.clip_embed_dim, "vision_cfg": vision, "text_cfg": text}
    return build_open_clip(model, _PREPROCESSING)


def train_clip(images: ImageSet, parameters: PretrainingParameters) -> Backbone:
    """Train image and text tower with CLIP's contrastive loss (open_clip's own), in float32.

    Source: Radford et al., arXiv 2103.00020.
    """
    backbone = seeded(lambda: build_clip(parameters), parameters.seed, "clip")
    contrast = ClipLoss()
    with _only_used_tokens(backbone.model, backbone.tokenize(images.captions)) as tokens:

        def batch_loss(indices: torch.Tensor) -> torch.Tensor:
            pixels = backbone.preprocessing.normalize(images.pixels(indices))
            return contrast(*backbone.model(pixels, tokens[indices]))

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


@contextmanager
def _only_used_tokens(model: nn.Module, tokens: torch.Tensor) -> Iterator[torch.Tensor]:
    """Shrink the token embedding to the rows that ``tokens`` name, and write these back at the end.

    Yields the tokens renumbered in the same order, so that the end token stays the highest, where CLIP pools. A few
    dozen of 49408 rows are used; the optimizer would walk through all of them at every step.
    """
    whole = model.token_embedding
    used, renumbered = tokens.unique(return_inverse=True)
    model.token_embedding = nn.Embedding.from_pretrained(whole.weight.detach()[used], freeze=False)
    yield renumbered
    with torch.no_grad():
        whole.weight[used] = model.token_embedding.weight
    model.token_embedding = whole


def text_side(backbone: Backbone) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """Return the text tower and tokenizer of an open_clip backbone as transformers' classes, for a diffusion model."""
    with TemporaryDirectory() as folder:
        write_clip_tokenizer(Path(folder), backbone.model.context_length)
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return to_clip_text_model(backbone.model, tokenizer.eos_token_id), tokenizer
