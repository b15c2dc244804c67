"""A score of caption selection stands beside its rule and what guessing gives."""

import re

import finished_run
from dcr.reporting.page import render_page
from dcr.reporting.rules import WORDS, tell_published, tell_rules
from dcr.reporting.tables import build_benchmark_tables
from measured import comparison

SETS = [
    {
        "name": "winoground",
        "kind": "caption_selection",
        "folder": "sets/winoground",
        "dataset": "winoground",
        "benchmarks": ["caption_selection", "caption_types"],
        "notes": [],
        "published_rules": ["group_score", "text_score"],
        "rules": {
            "caption_selection": {
                "group_score": {"rule": "group_score", "chance": 1 / 6},
                "group_match": {"rule": "group_match", "chance": 0.5},
            },
            "caption_types": {
                name: {"rule": "group_score", "chance": 1 / 6} for name in ("mean", "Object")
            },
        },
    }
]


def test_a_measure_is_told_with_its_rule_and_chance():
    told = tell_rules([{"name": "one without rules"}, *SETS])
    assert told == {
        "caption_selection.group_score": (
            f"group_score: {WORDS['group_score']}; guessing gives 16.7 %"
        ),
        "caption_selection.group_match": (
            f"group_match: {WORDS['group_match']}; guessing gives 50.0 %"
        ),
        "caption_types.mean": f"group_score: {WORDS['group_score']}; guessing gives 16.7 %",
    }


def test_rows_of_a_benchmark_have_their_rules():
    compared = [
        comparison(f"caption_selection.{rule}", 0.4, 0.5) for rule in ("group_score", "group_match")
    ]
    (table,) = build_benchmark_tables(compared, SETS)
    assert [(row["name"], row["rule"].partition(":")[0]) for row in table["rows"]] == [
        ("group score", "group_score"),
        ("group match", "group_match"),
    ]
    assert "of which some belong together" in table["explanation"]
    assert table["set"] == "winoground"


def test_published_numbers_are_told_with_their_rule():
    published = {"SomeCLIP": {"caption_selection.group_score": 0.08}}
    assert tell_published(SETS, published) == "those of winoground are by group_score, text_score"
    assert tell_published(SETS, {"SomeCLIP": {"clustering.acc": 0.5}}) == ""


def test_the_page_shows_them(tmp_path):
    run, figures = finished_run.run(finished_run.write_mmvp(tmp_path))
    page = re.sub(r"\s+", " ", render_page(run, figures))
    assert page.count("image_score: each caption picks its image; guessing gives 25.0 %") == 1
    assert page.count("published numbers on it are by image_score") == 1
