"""The demo's text encoder for diffusion: CLIP's architecture, its own width, depth and weights."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import CLIPTextModel, CLIPTokenizer

from dcr.models.backbones import Backbone
from dcr.models.backbones.conversion.clip import to_clip_text_model
from dcr.models.backbones.conversion.tokenizers import write_clip_tokenizer
from dcr.parameters import PretrainingParameters
from dcr.scenes.pretrain_clip import build_clip


def build_text_encoder(parameters: PretrainingParameters) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """Return an untrained text encoder, drawn as open_clip draws CLIP's, and its tokenizer.

    The image tower that open_clip builds with it is left behind, so it is as small as it may be;
    since its size is not CLIP's, neither are the first weights, which come from one stream,
    affected by how large CLIP is.

    Args:
        parameters: tell width and depth, and the context length, which is that of CLIP.
    """
    size = {
        "clip_text_width": parameters.unet_text_width,
        "clip_text_layers": parameters.unet_text_layers,
        "clip_embed_dim": parameters.unet_text_width,
        "clip_vision_width": parameters.clip_head_width,
        "clip_vision_layers": 1,
        "clip_patch_size": parameters.image_size,
    }
    return text_side(build_clip(parameters.model_copy(update=size)))


def text_side(backbone: Backbone) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """Return text tower and tokenizer of open_clip's ``backbone`` as diffusers needs them.

    These are transformers' classes.
    """
    length = backbone.model.context_length
    assert isinstance(length, int)
    with TemporaryDirectory() as folder:
        write_clip_tokenizer(Path(folder), length)
        tokenizer = CLIPTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    return to_clip_text_model(backbone.model, tokenizer.eos_token_id), tokenizer
