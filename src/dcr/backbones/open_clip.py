"""Backbones from open_clip: native CLIP and CustomTextCLIP, and timm towers loaded through it."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from huggingface_hub import try_to_load_from_cache
from open_clip.transform import PreprocessCfg
from torch import nn

from dcr.backbones.base import Backbone, Preprocessing
from dcr.backbones.torchscript import is_torchscript, read_torchscript
from dcr.errors import UserError
from dcr.sources import FETCH, LOCAL


class OpenClipBackbone(Backbone):
    """A backbone around an open_clip model.

    Args:
        model: an ``open_clip.CLIP`` or ``open_clip.CustomTextCLIP``.
        model_cfg: the ``model_cfg`` of its ``open_clip_config.json``.
        preprocessing: how images become its input.
        load_tokenizer: returns the tokenizer, with open_clip's interface.
        source: where it was loaded from.
    """

    def __init__(
        self,
        model: nn.Module,
        model_cfg: dict[str, Any],
        preprocessing: Preprocessing,
        load_tokenizer: Callable[[], Any],
        source: str,
    ) -> None:
        super().__init__(model, model.visual, preprocessing, model_cfg["embed_dim"], load_tokenizer, source)
        self.model_cfg = model_cfg

    def encode_tokens(self, pixels: torch.Tensor, layer: int = -2) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Backbone.encode_tokens`."""
        pixels = self.preprocessing.normalize(pixels)
        outputs = self.visual.forward_intermediates(pixels, indices=[layer], output_fmt="NLC")
        return outputs["image_features"], outputs["image_intermediates"][0]

    def enable_gradient_checkpointing(self) -> None:
        """See `Backbone.enable_gradient_checkpointing`."""
        self.visual.set_grad_checkpointing(True)

    def tokenize(self, texts: list[str]) -> torch.Tensor:
        """See `Backbone.tokenize`."""
        return self.tokenizer(list(texts))

    def _encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model.encode_text(tokens)


def build_open_clip(model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any] | None = None) -> OpenClipBackbone:
    """Build a backbone with random weights from the two parts of an ``open_clip_config.json``.

    Keys that ``preprocess_cfg`` leaves out take open_clip's defaults (OpenAI's mean and std, bicubic, shortest).
    The text side uses open_clip's own byte-pair tokenizer.
    """
    parts = deepcopy(model_cfg)
    custom_text = parts.pop("custom_text", False)
    model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**parts)
    preprocessing = _preprocessing({**asdict(PreprocessCfg()), **(preprocess_cfg or {})}, model)
    tokenizer_kwargs = model_cfg["text_cfg"].get("tokenizer_kwargs") or {}
    load_tokenizer = partial(open_clip.SimpleTokenizer, context_length=model.context_length, **tokenizer_kwargs)
    return OpenClipBackbone(model, deepcopy(model_cfg), preprocessing, load_tokenizer, "random weights")


def load_open_clip(source: str, device: str | torch.device) -> OpenClipBackbone:
    """Load ``local-dir:<folder>`` or ``<model name>/<pretrained tag or file>``.

    Safetensors are read as such, other files with ``torch.load(weights_only=True)``, and OpenAI's TorchScript archives
    by `dcr.backbones.torchscript`, which runs none of their code. Whether quick_gelu is on is read from the config,
    and for pretrained tags from the tag.
    """
    name, weights, options = _resolve(source)
    script = weights is not None and is_torchscript(weights)
    try:
        model = open_clip.create_model(
            name,
            None if script else weights,
            require_pretrained=not script,
            weights_only=True,
            device=device,
            **options,
        )
        if script:
            model.load_state_dict(read_torchscript(weights))
    except Exception as exc:  # whatever a foreign file may raise
        raise UserError(f"Backbone {source} cannot be loaded by open_clip: {_first_line(exc)}") from exc
    if not isinstance(model, open_clip.CLIP | open_clip.CustomTextCLIP):
        raise UserError(
            f"Backbone {source} is a {type(model).__name__}; only CLIP and CustomTextCLIP models of open_clip "
            f"have the image embedding that training needs: choose one of those."
        )
    model_cfg = open_clip.get_model_config(name)
    if options.get("force_quick_gelu"):
        model_cfg["quick_gelu"] = True
    preprocessing = _preprocessing(open_clip.get_model_preprocess_cfg(model), model)
    return OpenClipBackbone(model, model_cfg, preprocessing, partial(open_clip.get_tokenizer, name), source)


def _resolve(source: str) -> tuple[str, str | None, dict[str, Any]]:
    """Return open_clip's model name, weights file and options for a source, or say why there are none."""
    if source.startswith(LOCAL):
        _check_folder(Path(source.removeprefix(LOCAL)))
        return source, None, {}
    name, _, pretrained = source.partition("/")
    if name not in open_clip.list_models() or not pretrained:
        raise UserError(
            f"Backbone {source} is neither a folder that exists, nor local-dir:<folder>, <org>/<name>, "
            f"hf-hub:<org>/<name> or <open_clip model>/<pretrained tag or file>: check the path or the name."
        )
    if Path(pretrained).is_file():
        return name, pretrained, {}
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise UserError(f"Backbone {source}: {name} has no pretrained tag or file {pretrained}; its tags are {tags}.")
    path = cached_tag_file(tag)
    if path is None:
        raise UserError(f"Backbone {source} is not on this machine: get it with `{FETCH}`.")
    # a tag knows how its weights were trained, also where the model's name does not say so
    options = {"force_quick_gelu": True} if tag.get("quick_gelu") else {}
    preprocess_cfg = {key: tag[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in tag}
    return name, str(path), options | {"force_preprocess_cfg": preprocess_cfg}


def cached_tag_file(tag: dict[str, Any]) -> Path | None:
    """Return the local file of a pretrained tag's entry in open_clip's table, None if it was never downloaded."""
    repo_id, filename = os.path.split(tag.get("hf_hub", ""))
    for candidate in [filename] if filename else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]:
        found = try_to_load_from_cache(repo_id, candidate) if repo_id else None
        if isinstance(found, str):
            return Path(found)
    downloaded = Path.home() / ".cache" / "clip" / os.path.basename(tag.get("url", ""))  # where open_clip puts them
    return downloaded if downloaded.is_file() else None


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"Backbone folder {folder} does not exist: check the path, or run the step that makes it.")
    if not (folder / "open_clip_config.json").is_file():
        hint = "it is a transformers folder, so leave out 'local-dir:'" if (folder / "config.json").is_file() else (
            "point the recipe's backbone at an open_clip model folder"
        )  # fmt: skip
        raise UserError(f"Backbone folder {folder} has no open_clip_config.json: {hint}.")
    if not any(path.suffix in (".safetensors", ".bin", ".pth") for path in folder.iterdir()):
        raise UserError(f"Backbone folder {folder} has a config but no weights (open_clip_model.safetensors).")


def _preprocessing(config: dict[str, Any], model: nn.Module) -> Preprocessing:
    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise UserError(f"The image tower takes {height}x{width} images; only square towers are supported.")
    return Preprocessing(
        image_size=height,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        # open_clip itself reads "random" as bicubic outside of training
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        resize_mode=config["resize_mode"],
    )


def _first_line(exc: Exception) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
