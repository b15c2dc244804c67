"""The ledger's page: every number stands with its source, rule, interval, verdict and reason."""

import re

import pytest

from dcr.ledger.page import build_tables, headline, render_ledger
from dcr.ledger.verdicts import VERDICTS
from ledgers import ledger


@pytest.fixture(scope="module")
def told():
    return ledger()


def test_every_verdict_occurs_and_is_counted_in_the_headline(told):
    assert {row["verdict"] for row in told["rows"]} == set(VERDICTS)
    assert headline(told["rows"]) == (
        "6 published improvements: 1 reproduced, 1 not reproduced, 1 cannot be told, 3 not"
        " measured here; 8 published scores: 1 reproduced, 1 not reproduced, 2 cannot be told, 4"
        " not measured here"
    )
    assert headline([]) == "The published tables state no number"


def test_a_row_is_an_encoder_with_its_improvement_and_its_score(told):
    first, second = build_tables(told["rows"])
    assert [row["name"].split()[0] for row in first["rows"]] == [
        "Plain",
        "Told",
        "Refuted",
        "Untold",
    ]
    base, found = first["rows"][:2]
    assert base["improvement"] is None
    assert base["score"]["published"] == base["score"]["value"] == "20.0"
    assert found["improvement"]["published"] == "+3.3"
    assert found["improvement"]["value"] == "+3.5"
    assert re.fullmatch(r"\+\d\.\d to \+\d\.\d", found["improvement"]["interval"])
    assert (first["is_measured"], second["is_measured"]) == (True, False)


def test_the_page_names_source_rule_sets_and_items_and_escapes_text(told):
    page = render_ledger("example", told)
    assert "A paper (arXiv 0000.00000). A note of the authors." in page
    assert "400 items, rule: image_score: each caption picks its image; sets: mmvp_vlm." in page
    assert "no evaluation set here is called dtd" in page
    assert "Told &lt;one&gt;" in page
    assert "<one>" not in page
    assert page.count("survives Holm</small>") == sum(row["survives"] for row in told["rows"]) > 0
    assert f"{told['num_tests']} tests are read together" in page
    assert "built-in method" not in page


def test_a_ledger_without_any_score_says_how_to_get_some(told):
    rows = [row for row in told["rows"] if row["verdict"] == "not measured here"]
    page = render_ledger("example", told | {"rows": rows, "num_tests": 0})
    assert "No encoder of the tables has a score here" in page
    assert "<code>more_encoders</code>" in page
