"""What the page says of details that the base models cannot tell."""

import pytest

import finished_run
from dcr.reporting.details import build_details


def record(known, distance):
    details = {
        name: {"rise": 0.00123, "standard_error": 0.0001, "known": told}
        for name, told in known.items()
    }
    return {"details": details, "clip": {"statement_distance": distance}}


def test_the_table_has_a_row_for_the_class_and_every_detail():
    rows = {row["name"]: row for row in build_details(finished_run.base_models_record())["rows"]}
    assert list(rows) == ["class", "color", "count", "text"]
    assert rows["color"] == {
        "name": "color",
        "rise": "986.0 ± 31.0",
        "known": True,
        "distance": "0.310",
        "apart": True,
    }
    assert rows["text"] == {
        "name": "text",
        "rise": "3.0 ± 2.0",
        "known": False,
        "distance": "0.020",
        "apart": False,
    }
    assert rows["class"]["distance"] == "–"


def test_what_cannot_be_told_is_named():
    unet, text = build_details(finished_run.base_models_record())["sentences"]
    assert unet.startswith("The UNet cannot tell count and text: ")
    assert "a pair about text less than 0.02 apart" in text


@pytest.mark.parametrize(
    ("names", "listed"),
    [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c")],
    ids=["one", "two", "three"],
)
def test_names_are_listed_as_in_a_sentence(names, listed):
    unet, text = build_details(record(dict.fromkeys(names, False), dict.fromkeys(names, 0.0)))[
        "sentences"
    ]
    assert f"cannot tell {listed}:" in unet
    assert f"about {listed} less than" in text


def test_where_all_is_told_the_sentences_say_so():
    unet, text = build_details(record({"a": True}, {"a": 0.5}))["sentences"]
    assert unet == "The UNet tells every detail."
    assert "every pair at least 0.02 apart" in text


def test_models_that_were_not_trained_here_have_none():
    assert build_details({}) == {"rows": [], "sentences": []}
