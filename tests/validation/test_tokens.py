"""Tokens of captions, counted as the libraries count that own the tokenizers."""

import subprocess
import sys
import time

import pytest

from dcr.errors import UserError
from dcr.validation.tokens import read_tokenizer, token_counter, tokenizer_id, write_tokenizer

TEXTS = [
    "a photo of a cat",
    "",
    "   x ",
    "don't STOP https://a.b/c?d=e",
    "caf\u00e9 &amp;amp; b's 12345 !!!",
    "a_b-c...d",
    "\u4f60\u597d\uff0c\u4e16\u754c",
    "\U0001f600\U0001f600 ok",
    "\u00c3\u00a9t\u00c3\u00a9",
    "tab\tnew\nline \x07 bell",
    "&lt;start_of_text&gt; hi <end_of_text>",
    "x\u00a0y\u2003z",
    "\u0130stanbul",
    "supercalifragilistic" * 5,
]


def counter_of(text, folder, cleaning="none"):
    write_tokenizer(text, folder)
    return token_counter(tokenizer_id(text), cleaning, str(folder / "tokenizer.json"))


def test_tokens_are_counted_as_open_clip_does():
    from open_clip import SimpleTokenizer

    theirs = SimpleTokenizer()
    count = token_counter("clip")
    assert [count(text) for text in TEXTS] == [len(theirs.encode(text)) + 2 for text in TEXTS]


def test_tokens_are_counted_as_transformers_does(tmp_path):
    from transformers import CLIPTokenizerFast

    from dcr.models.backbones.conversion.tokenizers import write_clip_tokenizer

    write_clip_tokenizer(tmp_path / "slow", 77)
    tokenizer = CLIPTokenizerFast.from_pretrained(tmp_path / "slow")
    tokenizer.save_pretrained(tmp_path / "fast")
    for source in (tmp_path / "fast", tmp_path / "fast" / "tokenizer.json"):
        assert counter_of(read_tokenizer(source), tmp_path)("a photo of two cats") == len(
            tokenizer("a photo of two cats").input_ids
        )


def test_a_file_that_is_no_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json is no tokenizer"):
        read_tokenizer(tmp_path)


def test_a_tokenizer_that_a_worker_does_not_see_or_that_was_replaced_is_told(tmp_path):
    file = tmp_path / "tokenizer.json"
    with pytest.raises(UserError, match=r"tokenizer\.json.* every host .* must see .* data/"):
        token_counter(tokenizer_id("absent"), "none", str(file))
    file.write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json.* changed during the run"):
        token_counter(tokenizer_id("another"), "none", str(file))


@pytest.mark.parametrize("cleaning", ["whitespace", "canonicalize"])
def test_texts_are_cleaned_as_open_clip_does_before_another_tokenizer(tmp_path, cleaning):
    from open_clip.tokenizer import get_clean_fn
    from tokenizers import Tokenizer

    from models import word_tokenizer

    word_tokenizer(tmp_path)
    theirs, clean = Tokenizer.from_file(str(tmp_path / "tokenizer.json")), get_clean_fn(cleaning)
    theirs.no_truncation()
    count = counter_of(read_tokenizer(tmp_path), tmp_path, cleaning)
    assert [count(text) for text in TEXTS] == [len(theirs.encode(clean(t)).ids) for t in TEXTS]


def test_one_long_word_takes_no_longer_than_many(tmp_path):
    count = token_counter("clip")
    start = time.perf_counter()
    assert count("q" * 4_000_000) > 77
    # open_clip's own takes minutes for the 10 000 letters that are looked at.
    assert time.perf_counter() - start < 5


def test_workers_load_neither_torch_nor_open_clip():
    code = "import sys; from dcr.validation.tokens import token_counter as t; t('clip')('a'); "
    code += (
        "import dcr.validation.measuring; print({'torch', 'open_clip', 'transformers'} &"
        " set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
