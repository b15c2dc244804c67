"""Tiny models with random weights, written to disk in the formats that users have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from dcr.models.backbones import Backbone, load_backbone

IMAGE_SIZE = 32
TEXTS = ["a red fish, facing left!", "Two   dots on a STRIPED wall", "it's café № 42", ""]


def images(count: int = 3, size: tuple[int, int] = (50, 42)) -> list[Image.Image]:
    """Return smooth random RGB images; their leftover beside the crop is even, where all
    croppers agree.
    """
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return [Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC) for pixels in small]


def pixels(count: int = 3) -> torch.Tensor:
    """Return random pixels in [0, 1], (count, 3, 32, 32)."""
    return torch.rand(count, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(1))


def tiny_model_cfg(quick_gelu: bool = True, **top_level: Any) -> dict[str, Any]:
    """Return an open_clip ``model_cfg``: ViT width 32, 2 layers, 32 px, patch 8; text width 32,
    2 layers.
    """
    return {
        "embed_dim": 24,
        "quick_gelu": quick_gelu,
        "vision_cfg": {
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "width": 32,
            "layers": 2,
            "head_width": 8,
        },
        "text_cfg": {
            "context_length": 20,
            "vocab_size": 49408,
            "width": 32,
            "heads": 4,
            "layers": 2,
        },
        **top_level,
    }


def tiny_open_clip(
    folder: Path,
    model_cfg: dict[str, Any] | None = None,
    preprocess_cfg: dict[str, Any] | None = None,
) -> Path:
    """Write an open_clip folder by hand (config and safetensors) and return it."""
    import open_clip

    model_cfg = model_cfg or tiny_model_cfg()
    parts = json.loads(json.dumps(model_cfg))
    build = open_clip.CustomTextCLIP if parts.pop("custom_text", False) else open_clip.CLIP
    model = build(**parts)
    randomize(model)
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg or {"mean": [0.4, 0.5, 0.6]}}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def tiny_hf_clip(folder: Path, **vision: Any) -> Path:
    """Write a transformers CLIPModel folder with a vocabulary of bytes and return it."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    vocabulary = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    eos = len(vocabulary) - 1
    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    text = {
        "vocab_size": eos + 1,
        "max_position_embeddings": 20,
        "eos_token_id": eos,
        "bos_token_id": eos - 1,
    }
    model = CLIPModel(
        CLIPConfig(
            text_config={**tower, **text, "pad_token_id": eos},
            vision_config={**tower, "image_size": IMAGE_SIZE, "patch_size": 8, **vision},
            projection_dim=24,
        )
    )
    randomize(model)
    model.save_pretrained(folder)
    size = {
        "size": {"shortest_edge": IMAGE_SIZE},
        "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    }
    CLIPImageProcessor(**size).save_pretrained(folder)
    ids = {token: index for index, token in enumerate(vocabulary)}
    CLIPTokenizer(vocab=ids, merges=[], model_max_length=20).save_pretrained(folder)
    return folder


def tiny_siglip(folder: Path, hidden_act: str = "gelu_pytorch_tanh") -> Path:
    """Write a transformers SiglipModel folder with a word tokenizer and return it."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    model = SiglipModel(
        SiglipConfig(
            text_config={**tower, "vocab_size": 32, "max_position_embeddings": 8},
            vision_config={
                **tower,
                "image_size": IMAGE_SIZE,
                "patch_size": 8,
                "hidden_act": hidden_act,
            },
        )
    )
    randomize(model)
    with torch.no_grad():
        model.logit_bias.fill_(-3.0)
    model.save_pretrained(folder)
    SiglipImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}).save_pretrained(folder)
    word_tokenizer(folder)
    return folder


def with_sentencepiece(folder):
    """Give a SigLIP folder the tokenizer that Google's repositories hold: a sentencepiece
    model, and nothing else.
    """
    import sentencepiece
    from transformers import SiglipTokenizer

    for path in folder.glob("*token*"):
        path.unlink()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a red fish", "two dots on a wall"] * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=24,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    SiglipTokenizer(str(folder / "spiece.model"), model_max_length=8).save_pretrained(folder)
    return folder


def word_tokenizer(folder: Path) -> None:
    """Write a tokenizer that knows a few words in lower case, as files of transformers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {
        word: index
        for index, word in enumerate(["<pad>", "<unk>", "a", "red", "fish", "dots", "wall", "two"])
    }
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)


def randomize(model: torch.nn.Module, seed: int = 0) -> None:
    """Draw every parameter anew, biases and norms included, so that no mapping error hides
    behind zeros or ones.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("logit_scale"):
                parameter.fill_(2.5)
            elif parameter.ndim < 2:
                # A norm's weight lies around 1.
                parameter.copy_(0.1 * noise + float(name.endswith("weight")))
            else:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)


def randomize_adapter(visual: torch.nn.Module, seed: int = 2) -> None:
    """Change LoRA factors and adapted biases, all that is trainable, as training would have."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(
            (name, p) for name, p in visual.named_parameters() if p.requires_grad
        ):
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


FAMILIES = {"open_clip": tiny_open_clip, "clip": tiny_hf_clip, "siglip": tiny_siglip}
"""What writes a tiny model, by the family it is of."""


def load_family(folders: dict[str, str], family: str) -> Backbone:
    """Load the backbone of a family from its folder."""
    return load_backbone(("local-dir:" if family == "open_clip" else "") + folders[family])
