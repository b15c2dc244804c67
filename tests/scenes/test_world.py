"""The world's attributes and words."""

import re

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from dcr.scenes.world import (
    DETAILS,
    MMVP_TYPES,
    SCENE_CLASSES,
    TEMPLATES,
    caption,
    sample_attributes,
    sample_pair,
    statement,
)

FISH = {
    "class": 0,
    "orientation": 0,
    "presence": 1,
    "state": 1,
    "count": 1,
    "position": 0,
    "color": 0,
    "structure": 1,
    "text": 0,
    "viewpoint": 0,
}


def test_there_are_twenty_classes_and_one_detail_for_each_official_type():
    assert len(set(SCENE_CLASSES)) == 20
    assert list(MMVP_TYPES) == [
        "Orientation and Direction",
        "Presence of Specific Features",
        "State and Condition",
        "Quantity and Count",
        "Positional and Relational Context",
        "Color and Appearance",
        "Structural Characteristics",
        "Texts",
        "Viewpoint and Perspective",
    ]
    assert list(MMVP_TYPES.values()) == list(DETAILS)


def test_attributes_depend_on_seed_split_and_index_only():
    assert sample_attributes(0, "train", 5) == sample_attributes(0, "train", 5)
    rows = {
        key: tuple(tuple(sample_attributes(seed, split, i).values()) for i in range(20))
        for key, (seed, split) in {"a": (0, "train"), "b": (1, "train"), "c": (0, "test")}.items()
    }
    assert len(set(rows.values())) == 3


def test_details_are_uniform_and_independent_of_the_class_and_of_each_other():
    rows = [sample_attributes(0, "train", index) for index in range(4000)]
    table = np.array([list(row.values()) for row in rows])
    sizes = [len(SCENE_CLASSES), *map(len, DETAILS.values())]
    p_values = []
    for i, size in enumerate(sizes):
        assert set(table[:, i]) == set(range(size))
        assert np.bincount(table[:, i]).max() / len(rows) < 1.35 / size
        for j in range(i):
            counts = np.zeros((size, sizes[j]))
            np.add.at(counts, (table[:, i], table[:, j]), 1)
            p_values.append(chi2_contingency(counts).pvalue)
    assert min(p_values) > 0.01 / len(p_values)  # Bonferroni


@pytest.mark.parametrize("detail", DETAILS)
def test_a_pair_differs_in_exactly_its_detail(detail):
    for index in range(20):
        first, second = sample_pair(0, "test", detail, index)
        assert [name for name in first if first[name] != second[name]] == [detail]


@pytest.mark.parametrize("detail", DETAILS)
def test_a_pair_comes_in_random_order(detail):
    pairs = [sample_pair(0, "test", detail, index) for index in range(30)]
    assert {first[detail] < second[detail] for first, second in pairs} == {True, False}


def test_the_full_caption_names_everything_in_a_fixed_order():
    assert (
        caption(FISH)
        == "a photo of a near red hollow fish facing left up high with a sun with two dots by a"
        " striped wall with the letter T"
    )


def test_an_unnamed_class_is_a_thing():
    generator = np.random.default_rng(0)
    assert caption(FISH, generator, 0, 0) == "a photo of a thing"
    assert caption(FISH, generator, 1, 0) == "a photo of a fish"


def test_random_captions_name_class_and_details_as_often_as_asked():
    generator = np.random.default_rng(0)
    captions = [caption(FISH, generator, 0.5, 0.4) for _ in range(3000)]
    for words, expected in {
        "fish": 0.5,
        "facing left": 0.4,
        "red": 0.4,
        "with two dots": 0.4,
        "near": 0.4,
    }.items():
        share = np.mean([bool(re.search(rf"\b{words}\b", text)) for text in captions])
        assert share == pytest.approx(expected, abs=0.04)
    assert {len(text.split()) for text in captions} > {5, 6, 7, 8}


def test_statements_name_the_class_and_one_detail_and_are_captions_after_the_benchmarks_prefix():
    assert statement(FISH, "orientation") == "a fish facing left"
    assert statement(FISH, "color") == "a red fish"
    assert statement(FISH, "presence") == "a fish with a sun"
    generator = np.random.default_rng(0)
    seen = {caption(FISH, generator, 1, 0.1) for _ in range(500)}
    assert {"a photo of " + statement(FISH, detail) for detail in DETAILS} <= seen


def test_the_two_statements_of_a_pair_differ():
    for detail in DETAILS:
        first, second = sample_pair(0, "test", detail, 0)
        assert statement(first, detail) != statement(second, detail)


def test_templates_hold_a_place_for_the_class():
    assert all(template.count("{c}") == 1 for template in TEMPLATES)


def test_the_longest_caption_fits_28_tokens():
    open_clip = pytest.importorskip("open_clip")
    tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=77)
    texts = [
        caption({"class": index, **{name: value % len(words) for name, words in DETAILS.items()}})
        for index in range(len(SCENE_CLASSES))
        for value in range(12)
    ]
    assert int((tokenizer(texts) != 0).sum(1).max()) == 28
