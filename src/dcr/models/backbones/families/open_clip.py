"""Models of open_clip, CLIP and CustomTextCLIP, with an image tower of open_clip's own."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.transform import PreprocessCfg
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from dcr.data.transforms import Preprocessing, checked_preprocessing
from dcr.errors import UserError, first_line
from dcr.models.backbones.attention import split_fused
from dcr.models.backbones.base import Backbone
from dcr.models.backbones.blocks import Blocks
from dcr.models.backbones.open_clip.source import (
    OpenClipSource,
    is_of_open_clip,
    names_timm_tower,
    peek_model_cfg,
    read_source,
)
from dcr.models.backbones.open_clip.tokenizer import build_tokenizer, count_tokens
from dcr.models.backbones.projection import Projection
from dcr.models.model_configs import check_numbers
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

    layout = "open_clip"
    blocks = Blocks((ResidualAttentionBlock,), split=split_fused)
    image_projections: tuple[str, ...] = ("proj",)
    """Where the image tower's last linear layer may lie in it."""
    model: Any  # open_clip has no types
    visual: Any

    def __init__(
        self,
        model: Any,
        model_cfg: dict[str, Any],
        preprocessing: Preprocessing,
        load_tokenizer: Callable[[], Any],
        source: str,
    ) -> None:
        super().__init__(
            model, model.visual, preprocessing, model_cfg["embed_dim"], load_tokenizer, source
        )
        self.model_cfg = model_cfg

    @classmethod
    def takes(cls, model_cfg: dict[str, Any]) -> bool:
        """Tell whether the image tower of ``model_cfg``, checked or not, is of this family."""
        return not names_timm_tower(model_cfg)

    @classmethod
    def recognises(cls, location: str) -> bool:
        """See `Backbone.recognises`; ``location`` may name a model of open_clip's table."""
        return is_of_open_clip(location) and cls.takes(peek_model_cfg(location))

    @classmethod
    def load(cls, location: str, device: str | torch.device) -> Self:
        """See `Backbone.load`: ``location`` on ``device``.

        Safetensors are read as such, other files by an unpickler that knows tensors alone, and
        OpenAI's TorchScript archives by `dcr.models.backbones.torchscript`, which runs none of
        their code. Whether quick_gelu is on is read from the config; from the archive or
        open_clip's table where weights come under a model's name.
        """
        read = read_source(location)
        state = _fitted(read, read_weights(read.weights))
        model = _build(read.model_cfg)
        model.load_state_dict(state)
        return cls._of(model.to(device), read, location)

    @classmethod
    def check(cls, location: str) -> None:
        """See `Backbone.check`, of ``location``."""
        read = read_source(location)
        _fitted(read, read_weights(read.weights, only_shapes=True))

    @classmethod
    def outline(cls, location: str) -> Self:
        """See `Backbone.outline`, of ``location``."""
        read = read_source(location)
        return cls._of(_build(read.model_cfg, read.config_path), read, location)

    @classmethod
    def build(cls, model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any] | None = None) -> Self:
        """Build a backbone with random weights from the two parts of an ``open_clip_config.json``.

        Keys that ``preprocess_cfg`` leaves out take open_clip's defaults (OpenAI's mean and std,
        bicubic, shortest). The text side uses open_clip's own byte-pair tokenizer.

        Args:
            model_cfg: architecture of both towers, as open_clip spells it.
            preprocess_cfg: how images become its input; None for the defaults alone.
        """
        source = OpenClipSource(model_cfg, Path(), Path("model_cfg"), preprocess_cfg or {})
        return cls._of(_build(model_cfg), source, "random weights")

    @classmethod
    def _of(cls, model: Any, source: OpenClipSource, name: str) -> Self:
        preprocessing = _preprocessing(
            {**asdict(PreprocessCfg()), **source.preprocess_cfg}, model, source.config_path
        )
        tokenizer = partial(build_tokenizer, source, model.context_length)
        return cls(model, deepcopy(source.model_cfg), preprocessing, tokenizer, name)

    def encode_tokens(
        self, pixels: torch.Tensor, layer: int = -2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Backbone.encode_tokens`.

        ``pixels`` are (B, 3, H, H) in [0, 1], ``layer`` is counted from the end.
        """
        pixels = self.preprocessing.normalize(pixels)
        outputs = self.visual.forward_intermediates(pixels, indices=[layer], output_fmt="NLC")
        return outputs["image_features"], outputs["image_intermediates"][0]

    def image_projection(self) -> Projection | None:
        """See `Backbone.image_projection`."""
        return _find_projection(self.visual, self.image_projections, "visual.")

    def text_projection(self) -> Projection | None:
        """See `Backbone.text_projection`."""
        return _find_projection(self.model, ("text_projection", "text.text_projection"))

    def enable_gradient_checkpointing(self) -> None:
        """See `Backbone.enable_gradient_checkpointing`."""
        self.visual.set_grad_checkpointing(True)

    def _tokenize(self, tokenizer: Any, texts: list[str]) -> torch.Tensor:
        tokens: torch.Tensor = tokenizer(texts)
        return tokens

    @property
    def vocab_size(self) -> int:
        """See `Backbone.vocab_size`."""
        return int(self.model.vocab_size)

    def count_tokens(self, texts: list[str]) -> list[int]:
        """See `Backbone.count_tokens`; ``texts`` are not cut before they are counted."""
        return count_tokens(self.tokenizer, texts)

    def _encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = self.model.encode_text(tokens)
        return embeddings


FAMILY = OpenClipBackbone


def _find_projection(
    module: nn.Module, names: tuple[str, ...], prefix: str = ""
) -> Projection | None:
    """Return the first of the named parts that is a linear layer or a bare parameter.

    open_clip multiplies with the latter.
    """
    for name in names:
        try:
            layer = attrgetter(name)(module)
        except AttributeError:
            continue
        if isinstance(layer, nn.Linear | nn.Parameter):
            return Projection.of(layer, prefix + name)
    return None


def _fitted(source: OpenClipSource, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the state under the model's names.

    What cannot be a model of these weights is refused unbuilt.
    """
    check_numbers(source.model_cfg, state, source.config_path)
    with torch.device("meta"):
        model = _build(source.model_cfg, source.config_path)
    return fit(state, model, source.weights, partial(_with_todays_names, model))


def _build(model_cfg: dict[str, Any], path: Path | None = None) -> Any:
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


def _preprocessing(config: dict[str, Any], model: Any, path: Path) -> Preprocessing:
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
