"""How much of a text a backbone reads, found from its files without its weights being loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcr.data.sources import backbone_location
from dcr.errors import UserError
from dcr.models.backbones.families import find_family
from dcr.models.backbones.open_clip.source import OpenClipSource, is_of_open_clip, read_source
from dcr.models.backbones.open_clip.tokenizer import build_tokenizer
from dcr.models.backbones.transformers.folder import TransformersFolder
from dcr.models.model_configs import load_tokenizer

_CONTEXT = 77  # open_clip's own default
_UNCOUNTED = {"strip_sep_token"}  # options that leave the number of tokens as it is


@dataclass(frozen=True)
class TextSide:
    """What a text is cut by, as plain values that a worker counts by without the model.

    Attributes:
        tokenizer: ``clip`` for open_clip's own, else a tokenizer.json as text.
        cleaning: of texts before the latter, ``none``, or ``whitespace`` or ``canonicalize`` as
            open_clip does.
        context_length: tokens that the text tower reads, start and end included.
    """

    tokenizer: str
    cleaning: str
    context_length: int


def read_text_side(source: str) -> TextSide:
    """Return the text side of a backbone that is on this machine.

    Args:
        source: as `dcr.models.backbones.load_backbone` takes it.

    Raises:
        UserError: the backbone is not here, has no tokenizer, or one that cannot be taken out of
            its library.
    """
    location = backbone_location(source)
    if is_of_open_clip(location):
        return _of_open_clip(read_source(location), source)
    model_class: Any = find_family(location)
    config: Any = TransformersFolder.read(Path(location), model_class.model_class).config
    tokenizer = _as_text(load_tokenizer(Path(location)), source)
    return TextSide(tokenizer, "none", config.text_config.max_position_embeddings)


def _of_open_clip(read: OpenClipSource, source: str) -> TextSide:
    text_cfg = read.model_cfg["text_cfg"]
    context_length = text_cfg.get("context_length", _CONTEXT)
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    clean = options.pop("clean", "whitespace" if read.tokenizer else "lower")
    known = ("whitespace", "canonicalize") if read.tokenizer else ("lower",)
    if options.keys() - _UNCOUNTED or clean not in known:
        raise UserError(
            f"backbone {source}: its tokenizer has options that tokens are not counted by:"
            f" {text_cfg['tokenizer_kwargs']}"
        )
    if not read.tokenizer:
        return TextSide("clip", "none", context_length)
    tokenizer = build_tokenizer(read, context_length).tokenizer
    return TextSide(_as_text(tokenizer, source), clean, context_length)


def _as_text(tokenizer: Any, source: str) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(
            f"backbone {source}: its tokenizer is none of the library tokenizers, by which alone"
            " tokens are counted"
        )
    return str(backend.to_str())
