import subprocess
import sys
import time

import pytest

from dcr.data.shards import Sample
from dcr.errors import UserError
from dcr.validation.captions import (
    choose_caption,
    language_detector,
    read_tokenizer,
    token_counter,
)

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
        assert token_counter(read_tokenizer(source))("a photo of two cats") == len(
            tokenizer("a photo of two cats").input_ids
        )


def test_a_file_that_is_no_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json is no tokenizer"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize("cleaning", ["whitespace", "canonicalize"])
def test_texts_are_cleaned_as_open_clip_does_before_another_tokenizer(tmp_path, cleaning):
    from open_clip.tokenizer import get_clean_fn
    from tokenizers import Tokenizer

    from models import word_tokenizer

    word_tokenizer(tmp_path)
    theirs, clean = Tokenizer.from_file(str(tmp_path / "tokenizer.json")), get_clean_fn(cleaning)
    theirs.no_truncation()
    count = token_counter(read_tokenizer(tmp_path), cleaning)
    assert [count(text) for text in TEXTS] == [len(theirs.encode(clean(t)).ids) for t in TEXTS]


def test_a_language_is_told_or_said_to_be_undetermined():
    told = {
        "two dogs playing in the snow": "en",
        "Ein Hund spielt mit einem Ball im Schnee": "de",
        "un chat noir dort sur une vieille table": "fr",
        "犬が雪の中で遊んでいる": "ja",
        "IMG": "und",
        "12 34": "und",
    }
    detect = language_detector(0.5)
    assert {text: detect(text) for text in told} == told
    assert language_detector(0.0)("12 34") != "und"


def test_one_long_word_takes_no_longer_than_many(tmp_path):
    count = token_counter("clip")
    start = time.perf_counter()
    assert count("q" * 4_000_000) > 77
    # open_clip's own takes minutes for the 10 000 letters that are looked at.
    assert time.perf_counter() - start < 5


def test_workers_load_neither_torch_nor_open_clip():
    code = "import sys; from dcr.validation.captions import token_counter as t; t('clip')('a'); "
    code += (
        "import dcr.validation.measuring; print({'torch', 'open_clip', 'transformers'} &"
        " set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_the_first_caption_is_chosen_or_one_is_drawn():
    captions = ("a fish", "a pond", "a net")
    samples = [
        Sample(str(i), bytes([i]), "jpg", captions[0], captions=captions) for i in range(200)
    ]
    assert {choose_caption(sample, "first") for sample in samples} == {"a fish"}
    drawn = [choose_caption(sample, "drawn") for sample in samples]
    assert all(40 < drawn.count(caption) < 95 for caption in captions)
    places = [captions.index(caption) for caption in drawn[:8]]
    assert places == [1, 1, 1, 2, 1, 1, 1, 0]  # on any machine


def test_what_is_drawn_depends_on_the_image_alone():
    captions = ("a fish", "a pond", "a net")
    chosen = {
        choose_caption(
            Sample(key, b"image", "jpg", "a fish", {"key": key}, 512, (), captions), "drawn"
        )
        for key in map(str, range(20))
    }
    assert len(chosen) == 1


@pytest.mark.parametrize("choice", ["first", "drawn"])
def test_one_caption_or_none_leaves_no_choice(choice):
    assert (
        choose_caption(Sample("0", b"image", "jpg", "a fish", captions=("a fish",)), choice)
        == "a fish"
    )
    assert choose_caption(Sample("0", b"image", "jpg", "a fish"), choice) == "a fish"
    assert choose_caption(Sample("0", b"image", "jpg", None), choice) is None
