"""open_clip's two kinds of tokenizers: its own, of all CLIP models, and those of transformers."""

from __future__ import annotations

from functools import cache
from typing import Any

import open_clip
from open_clip.tokenizer import HFTokenizer

from dcr.data.sources import tokenizer_folder
from dcr.models.backbones.open_clip.source import OpenClipSource
from dcr.models.model_configs import load_tokenizer


class _Tokenizer(open_clip.SimpleTokenizer):  # type: ignore[misc]  # open_clip has no types
    """open_clip's tokenizer, which keeps the token ids of the texts that it met last.

    Encoders share them.
    """

    _NUM_KEPT = 1 << 15

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._kept: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Return a new list of the token ids of ``text``, without start and end token."""
        if text not in self._kept:
            if len(self._kept) >= self._NUM_KEPT:
                self._kept.clear()
            self._kept[text] = super().encode(text)
        return list(self._kept[text])


@cache
def _plain_tokenizer(context_length: int) -> _Tokenizer:
    """Return the tokenizer of all CLIP models; its vocabulary takes a second to read."""
    return _Tokenizer(context_length=context_length)


def build_tokenizer(source: OpenClipSource, context_length: int) -> Any:
    """Return the tokenizer of a model, with open_clip's interface.

    Args:
        source: what names the model.
        context_length: tokens of the longest text, start and end token included.

    Raises:
        UserError: its files are not here, or cannot be read.
    """
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


def count_tokens(tokenizer: Any, texts: list[str]) -> list[int]:
    """Return how many tokens ``tokenizer`` makes of each of ``texts`` before any is cut.

    The tokenizer is one of `build_tokenizer`.
    """
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return [len(tokenizer.encode(text)) + 2 for text in texts]
    cleaned = [tokenizer.clean_fn(text) for text in texts]
    return [len(ids) for ids in tokenizer.tokenizer(cleaned).input_ids]
