"""Backbones from open_clip: native CLIP and CustomTextCLIP, and timm towers loaded through it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg
from torch import nn

from dcr.data.sources import tokenizer_folder
from dcr.data.transforms import Preprocessing, checked_preprocessing
from dcr.errors import UserError
from dcr.models.backbones.base import Backbone
from dcr.models.backbones.open_clip_source import OpenClipSource, read_source
from dcr.models.backbones.projection import Projection
from dcr.models.model_configs import check_numbers, first_line, load_tokenizer
from dcr.models.weights import fit, read_weights


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
        super().__init__(
            model, model.visual, preprocessing, model_cfg["embed_dim"], load_tokenizer, source
        )
        self.model_cfg = model_cfg

    def encode_tokens(
        self, pixels: torch.Tensor, layer: int = -2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Backbone.encode_tokens`: ``pixels`` (B, 3, H, H) in [0, 1], ``layer`` counted
        from the end.
        """
        pixels = self.preprocessing.normalize(pixels)
        outputs = self.visual.forward_intermediates(pixels, indices=[layer], output_fmt="NLC")
        return outputs["image_features"], outputs["image_intermediates"][0]

    def image_projection(self) -> Projection | None:
        """See `Backbone.image_projection`; a timm tower ends in open_clip's head, or in its own
        classifier's layer.
        """
        return _find_projection(
            self.visual, ("proj", "head.proj", "head.mlp.fc2", "trunk.head"), "visual."
        )

    def text_projection(self) -> Projection | None:
        """See `Backbone.text_projection`."""
        return _find_projection(self.model, ("text_projection", "text.text_projection"))

    def enable_gradient_checkpointing(self) -> None:
        """See `Backbone.enable_gradient_checkpointing`."""
        self.visual.set_grad_checkpointing(True)

    def _tokenize(self, tokenizer: Any, texts: list[str]) -> torch.Tensor:
        return tokenizer(texts)

    @property
    def vocab_size(self) -> int:
        """See `Backbone.vocab_size`."""
        return self.model.vocab_size

    def count_tokens(self, texts: list[str]) -> list[int]:
        """See `Backbone.count_tokens`; ``texts`` are not cut before they are counted."""
        tokenizer = self.tokenizer
        if isinstance(tokenizer, open_clip.SimpleTokenizer):
            return [len(tokenizer.encode(text)) + 2 for text in texts]
        cleaned = [tokenizer.clean_fn(text) for text in texts]
        return [len(ids) for ids in tokenizer.tokenizer(cleaned).input_ids]

    def _encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model.encode_text(tokens)


def _find_projection(
    module: nn.Module, names: tuple[str, ...], prefix: str = ""
) -> Projection | None:
    """Return the first of the named parts that is a linear layer, or a parameter that open_clip
    multiplies with.
    """
    for name in names:
        try:
            layer = attrgetter(name)(module)
        except AttributeError:
            continue
        if isinstance(layer, nn.Linear | nn.Parameter):
            return Projection.of(layer, prefix + name)
    return None


def build_open_clip(
    model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any] | None = None
) -> OpenClipBackbone:
    """Build a backbone with random weights from the two parts of an ``open_clip_config.json``.

    Keys that ``preprocess_cfg`` leaves out take open_clip's defaults (OpenAI's mean and std,
    bicubic, shortest). The text side uses open_clip's own byte-pair tokenizer.

    Args:
        model_cfg: architecture of both towers, as open_clip spells it.
        preprocess_cfg: how images become its input; None for the defaults alone.
    """
    source = OpenClipSource(model_cfg, Path(), Path("model_cfg"), preprocess_cfg or {})
    return _backbone(_build(model_cfg), source, "random weights")


def load_open_clip(source: str, device: str | torch.device) -> OpenClipBackbone:
    """Load ``source``, a ``local-dir:<folder>`` or ``<model name>/<pretrained tag or file>``, to
    ``device``.

    Safetensors are read as such, other files by an unpickler that knows tensors alone, and OpenAI's
    TorchScript archives by `dcr.models.backbones.torchscript`, which runs none of their code.
    Whether quick_gelu is on is read from the config; from the archive or open_clip's table where
    weights come under a model's name.
    """
    read = read_source(source)
    state = _fitted(read, read_weights(read.weights))
    model = _build(read.model_cfg)
    model.load_state_dict(state)
    return _backbone(model.to(device), read, source)


def check_open_clip(source: str) -> None:
    """Compare configuration and weights of ``source`` unloaded; UserError where they do not
    make a model.
    """
    read = read_source(source)
    _fitted(read, read_weights(read.weights, only_shapes=True))


def _fitted(source: OpenClipSource, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the state under the model's names; what cannot be a model of these weights is
    refused unbuilt.
    """
    check_numbers(source.model_cfg, state, source.config_path)
    with torch.device("meta"):
        model = _build(source.model_cfg, source.config_path)
    return fit(state, model, source.weights, partial(_with_todays_names, model))


def _build(model_cfg: dict[str, Any], path: Path | None = None) -> nn.Module:
    parts = deepcopy(model_cfg)
    custom_text = parts.pop("custom_text", False)
    try:
        return (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**parts)
    except Exception as error:  # whatever foreign values may raise
        if path is None:
            raise
        raise UserError(
            f"{path} cannot be built by open_clip ({first_line(error)}): choose another model"
        ) from error


def _with_todays_names(model: nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename what MobileCLIP's authors, and open_clip before its custom text towers, wrote."""
    state = convert_state_dict(model, state)
    is_old = "positional_embedding" in state and not hasattr(model, "positional_embedding")
    return convert_to_custom_text_state_dict(state) if is_old else state


def _backbone(model: nn.Module, source: OpenClipSource, name: str) -> OpenClipBackbone:
    preprocessing = _preprocessing(
        {**asdict(PreprocessCfg()), **source.preprocess_cfg}, model, source.config_path
    )
    load_tokenizer = partial(_load_tokenizer, source, model.context_length)
    return OpenClipBackbone(model, deepcopy(source.model_cfg), preprocessing, load_tokenizer, name)


class _Tokenizer(open_clip.SimpleTokenizer):
    """open_clip's tokenizer, which keeps the token ids of the texts that it met last: encoders
    share them.
    """

    _NUM_KEPT = 1 << 15

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._kept: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Return the token ids of ``text``, start and end token left out, in a list of the
        caller's own.
        """
        if text not in self._kept:
            if len(self._kept) >= self._NUM_KEPT:
                self._kept.clear()
            self._kept[text] = super().encode(text)
        return list(self._kept[text])


@cache
def _plain_tokenizer(context_length: int) -> _Tokenizer:
    """Return the tokenizer of all CLIP models; its vocabulary takes a second to read."""
    return _Tokenizer(context_length=context_length)


def _load_tokenizer(source: OpenClipSource, context_length: int) -> Any:
    text_cfg = source.model_cfg["text_cfg"]
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    if not source.tokenizer:
        return (
            _Tokenizer(context_length=context_length, **options)
            if options
            else _plain_tokenizer(context_length)
        )
    folder = tokenizer_folder(source.tokenizer)
    mode = text_cfg.get("tokenizer_mode")
    return load_tokenizer(
        folder, HFTokenizer, context_length=context_length, tokenizer_mode=mode, **options
    )


def _preprocessing(config: dict[str, Any], model: nn.Module, path: Path) -> Preprocessing:
    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise UserError(
            f"The image tower takes {height}x{width} images; only square towers are supported."
        )
    # open_clip itself reads "random" as bicubic outside of training
    interpolation = {"random": "bicubic"}.get(config["interpolation"], config["interpolation"])
    return checked_preprocessing(
        height, config["mean"], config["std"], interpolation, config["resize_mode"], path
    )
