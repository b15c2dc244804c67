"""What counts a recipe's captions counts as the backbone itself does, without being it."""

import pytest

from dcr.errors import UserError
from dcr.models.backbones import load_backbone
from dcr.models.text_side import read_text_side
from dcr.validation.tokens import token_counter, tokenizer_id, write_tokenizer
from models import (
    TEXTS,
    tiny_hf_clip,
    tiny_model_cfg,
    tiny_open_clip,
    tiny_siglip,
    with_sentencepiece,
)
from timm_models import tiny_open_clip_siglip

MORE = ["don't STOP", "caf\u00e9 &amp;amp; b's 12345 !!!", "a_b-c...d", "\u4f60\u597d", "x " * 100]


@pytest.mark.parametrize(
    ("write", "prefix"),
    [
        (tiny_hf_clip, ""),  # vocab.json and merges.txt, no tokenizer.json
        (tiny_siglip, ""),
        (tiny_open_clip, "local-dir:"),
        (tiny_open_clip_siglip, "local-dir:"),  # cleans texts in a way of its own
    ],
)
def test_tokens_and_context_are_those_of_the_backbone(tmp_path, write, prefix):
    source = f"{prefix}{write(tmp_path / 'model')}"
    side, backbone = read_text_side(source), load_backbone(source)
    write_tokenizer(side.tokenizer, tmp_path)
    file = str(tmp_path / "tokenizer.json")
    count = token_counter(tokenizer_id(side.tokenizer), side.cleaning, file)
    assert [count(text) for text in TEXTS + MORE] == backbone.count_tokens(TEXTS + MORE)
    assert side.context_length == backbone.tokenize([""]).shape[1]


def test_a_backbone_that_is_not_here_is_an_error():
    with pytest.raises(UserError, match="nor on this machine"):
        read_text_side("org/name")


def test_a_tokenizer_of_another_library_is_an_error(tmp_path):
    folder = with_sentencepiece(tiny_siglip(tmp_path / "model"))
    with pytest.raises(UserError, match="none of the library tokenizers"):
        read_text_side(str(folder))


def test_options_that_would_count_otherwise_are_an_error(tmp_path):
    cfg = tiny_model_cfg()
    cfg["text_cfg"]["tokenizer_kwargs"] = {"clean": "whitespace"}
    with pytest.raises(UserError, match="options that tokens are not counted by"):
        read_text_side(f"local-dir:{tiny_open_clip(tmp_path / 'model', cfg)}")
