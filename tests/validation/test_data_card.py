"""The data card: what a model was trained on, from counts that others can make again."""

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from pyarrow.parquet import ParquetFile

from corpus import encode, good_samples
from dcr.data.shards import Sample, write_shard
from dcr.validation.data_card import Declared, describe_data
from dcr.validation.data_card_text import render_data_card
from dcr.validation.judging import summarize
from dcr.validation.measuring import measure_shard
from dcr.validation.tokens import Counting
from validation_tables import LIMITS, POLICIES, judged

HOSTILE = "[x](http://evil) | <script>alert(1)</script> `"
EXPECTATIONS = {
    "results": [
        {
            "source": "shards",
            "expectation": "expect_it",
            "kwargs": {"column": "status"},
            "severity": "critical",
            "success": success,
        }
        for success in (True, False)
    ]
}


def declared(**changes):
    usual = {
        "recipe": "mine",
        "licence": None,
        "sources": {"shards": ["data/01_raw/mine", "s3://bucket/{000..009}.tar"]},
        "weights": {"shards": 1.0},
        "limits": {"min_image_size": 32, "tokenizer": None},
        "policies": POLICIES,
        "counting": Counting("clip", "clip", "none", 7),
    }
    return Declared(**usual | changes)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Two shards: seven good samples, two that are left out, one without a caption."""
    first, second = good_samples(5), good_samples(4, first=5)
    first[1] = Sample("small", encode((20, 20)), "jpg", "a small one")
    first[2] = Sample("broken", b"nothing", "jpg", "a broken one")
    captions = ("two dogs playing in the snow", "a dog")
    second[1] = replace(second[1], metadata={"captions": list(captions)})
    second[0] = Sample("wordless", encode((40, 33), seed=7), "jpg", None)
    folder = tmp_path_factory.mktemp("shards")
    paths = [str(write_shard(folder, name, of)) for name, of in (("0", first), ("1", second))]
    limits = replace(LIMITS, tokenizer="clip", context_length=7)
    measured = [measure_shard(path, name, limits) for path, name in zip(paths, "01", strict=True)]
    tables = tmp_path_factory.mktemp("tables")
    return judged(tables, *measured, caption_truncated="warn")


@pytest.fixture(scope="module")
def record(tables):
    return describe_data(declared(), tables, summarize(tables), EXPECTATIONS)


def test_counts_are_those_of_validation(tables, record):
    summary = summarize(tables)
    assert {name: record[name] for name in ("samples", "accepted", "rejected")} == {
        "samples": 9,
        "accepted": 7,
        "rejected": 2,
    }
    assert record["accepted_sha256"] == summary["accepted_sha256"]
    assert {name: found["number"] for name, found in record["reasons"].items()} == summary[
        "reasons"
    ]
    assert [shard["accepted"] for shard in record["shards"]] == [3, 4]
    assert record["num_bytes"] == sum(shard["num_bytes"] for shard in record["shards"])


def test_what_is_left_is_described_from_accepted_samples_alone(tables, record):
    rows = tables.frame()
    accepted = rows[rows["status"] == "accepted"]
    shorter = np.minimum(accepted["width"], accepted["height"])
    expected = np.quantile(shorter, [0.05, 0.5, 0.95], method="inverted_cdf")
    assert list(record["images"]["shorter_side"].values()) == expected.tolist()
    assert record["images"]["formats"] == dict(Counter(accepted["format"]))
    lengths = accepted["caption_length"].dropna().astype(int)
    expected = np.quantile(lengths, [0.05, 0.5, 0.95], method="inverted_cdf")
    assert list(record["captions"]["characters"].values()) == expected.tolist()
    assert record["captions"]["missing"] == 1
    tokens = accepted["caption_tokens"].dropna().astype(int)
    assert record["captions"]["tokens"]["50%"] == np.quantile(tokens, 0.5, method="inverted_cdf")
    assert record["captions"]["languages"] == dict(Counter(accepted["caption_language"].dropna()))
    assert record["captions"]["several"] == 1


def test_captions_that_are_cut_are_counted_or_it_is_told_why_not(tables, record):
    cut = (tables.frame()["caption_tokens"][tables.frame()["status"] == "accepted"] > 7).sum()
    assert record["captions"]["tokenizer"] == {
        "name": "clip",
        "context_length": 7,
        "why_not": None,
        "counted": 6,
        "cut": cut,
    }
    assert 0 < cut < 6
    assert f"| caption, cut | {cut} of 6 (" in render_data_card(record)
    absent = declared(counting=Counting("of b", None, "none", 0, "b is not here"))
    card = render_data_card(describe_data(absent, tables, summarize(tables), EXPECTATIONS))
    assert "| caption, cut | not counted: b is not here |" in card


def test_languages_that_were_not_looked_for_are_said_to_be_untold(tables, record):
    found = record | {"captions": record["captions"] | {"languages": {}}}
    assert "| language of the caption | not told |" in render_data_card(found)


def test_every_table_is_read_once(tables, monkeypatch):
    read, summary = [], summarize(tables)
    rows_of = ParquetFile.read
    monkeypatch.setattr(ParquetFile, "read", lambda *of: read.append(of) or rows_of(*of))
    describe_data(declared(), tables, summary, EXPECTATIONS)
    assert len(read) == 2  # shards


def test_the_record_is_plain_json(record):
    assert json.loads(json.dumps(record)) == record


def test_the_card_says_what_followed_from_each_reason_and_why(record):
    card = render_data_card(record)
    assert "7 of 9 samples were trained on, from 2 shards" in card
    assert "| `image_too_small` | 1 | left out | the shorter side is below" in card
    assert "| `caption_missing` | 1 | kept and counted |" in card
    assert card.count("expect\\_it") + card.count("`expect_it` fails (critical)") == 1
    assert record["accepted_sha256"] in card


def test_a_licence_that_nobody_declared_is_told_as_such(tables, record):
    assert "as the source declares it: not declared." in render_data_card(record)
    told = describe_data(declared(licence="CC-BY-4.0"), tables, summarize(tables), EXPECTATIONS)
    assert "as the source declares it: CC-BY-4.0." in render_data_card(told)


def test_foreign_words_are_no_markup(tables):
    hostile = declared(recipe=HOSTILE, licence=HOSTILE, sources={"shards": [HOSTILE]})
    card = render_data_card(describe_data(hostile, tables, summarize(tables), EXPECTATIONS))
    outside_of_code = re.sub(r"(`+) ?.*?\1", "", card)
    assert "<script>" not in outside_of_code
    assert "[x](" not in outside_of_code


def test_of_data_without_an_accepted_sample_there_is_a_card_too(tmp_path):
    path = str(write_shard(tmp_path / "s", "0", [Sample("b", b"nothing", "jpg", None)]))
    none = judged(tmp_path / "tables", measure_shard(path, "0", LIMITS))
    card = render_data_card(describe_data(declared(), none, summarize(none), {"results": []}))
    assert "0 of 1 samples" in card
    assert "All expectations of the recipe hold." in card
