"""Pictures of the page: which pairs are shown, and that what is shown is the image."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import finished_run
from dcr.data.benchmark_sets import open_set
from dcr.pages import to_data_uri
from dcr.reporting import images


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return open_set(finished_run.write_mmvp(tmp_path_factory.mktemp("mmvp"))).pairs


def decode(uri):
    kind, _, data = uri.partition(";base64,")
    return kind, Image.open(io.BytesIO(base64.b64decode(data)))


def test_flips_are_the_pairs_that_one_encoder_alone_answers(pairs):
    table = finished_run.outcomes()
    flips = images.find_flipped_pairs(pairs, table, "base", "dcr", num_shown=200)
    wide = table[table["benchmark"] == "mmvp_vlm"].pivot(
        index="item", columns="encoder", values="correct"
    )
    assert (
        flips["gained"]["count"]
        == len(flips["gained"]["pairs"])
        == ((wide["base"] == 0) & (wide["dcr"] == 1)).sum()
    )
    assert (
        flips["lost"]["count"]
        == len(flips["lost"]["pairs"])
        == ((wide["base"] == 1) & (wide["dcr"] == 0)).sum()
    )
    assert flips["num_pairs"] == 135
    assert 0 < flips["p_value"] <= 1


def test_flips_and_their_opposite_trade_places(pairs):
    table = finished_run.outcomes()
    there = images.find_flipped_pairs(pairs, table, "base", "dcr", num_shown=3)
    back = images.find_flipped_pairs(pairs, table, "dcr", "base", num_shown=3)
    assert there["gained"] == back["lost"]
    assert len(there["gained"]["pairs"]) == 3


def test_a_pair_is_shown_with_its_two_images_and_statements_without_the_prompt(pairs):
    flips = images.find_flipped_pairs(pairs, finished_run.outcomes(), "base", "dcr", num_shown=1)
    (shown,) = flips["gained"]["pairs"]
    assert shown["statements"] == ["a red fish", "a blue fish"]
    pair = next(
        p
        for p in pairs
        if p.type == shown["type"] and to_data_uri(images.open_images(p)[0]) in shown["images"]
    )
    assert shown["images"] == [to_data_uri(image) for image in images.open_images(pair)]


def test_examples_are_spread_over_the_types_before_any_type_comes_twice(pairs):
    nine = images.choose_examples(pairs, 9)
    assert tuple(pair.type for pair in nine) == finished_run.TYPES
    eleven = images.choose_examples(pairs, 11)
    assert [pair.type for pair in eleven[:4]] == [finished_run.TYPES[i] for i in (0, 0, 1, 1)]


def test_without_pairs_or_answers_there_are_no_flips(pairs):
    assert (
        images.find_flipped_pairs([], finished_run.outcomes(), "base", "dcr", num_shown=3)[
            "num_pairs"
        ]
        == 0
    )
    nothing = finished_run.outcomes().iloc[:0]
    assert images.find_flipped_pairs(pairs, nothing, "base", "dcr", num_shown=3)["num_pairs"] == 0


def test_each_column_tells_its_error_against_the_original():
    original = np.zeros((2, 4, 4, 3))
    table = images.tabulate_images(
        {"original": original, "grey": original + 0.5},
        [{"type": "a"}, {"type": "b"}],
        original="original",
    )
    assert table["columns"] == [{"name": "original", "error": 0.0}, {"name": "grey", "error": 0.25}]
    assert [row["type"] for row in table["rows"]] == ["a", "b"]
    _, grey = decode(table["rows"][1]["images"][1])
    assert grey.getpixel((0, 0)) == (128, 128, 128)


def test_only_items_that_both_encoders_answered_are_paired():
    rows = [("base", "0", 1), ("base", "1", 0), ("base", "2", 1), ("dcr", "0", 1), ("dcr", "1", 1)]
    table = pd.DataFrame(
        [(encoder, "zero_shot", item, "fish", float(correct)) for encoder, item, correct in rows],
        columns=["encoder", "benchmark", "item", "group", "correct"],
    )
    assert images.pair_outcomes(table, "zero_shot", "base", "dcr").to_numpy().tolist() == [
        ["0", "fish", 1, 1],
        ["1", "fish", 0, 1],
    ]
