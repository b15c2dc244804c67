"""Which caption is taken, and in which language it is."""

import pytest

from dcr.data.shards import Sample
from dcr.validation.captions import choose_caption, language_detector


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
    assert language_detector(0.0)("  ") == "und"


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
