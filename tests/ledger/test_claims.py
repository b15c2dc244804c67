"""Published tables as claims: what each number is told from."""

from copy import deepcopy

import pytest

from dcr.datasets.published import PublishedTablesDataset
from dcr.ledger.claims import IMPROVEMENT, NO_CHANGE, SCORE, list_claims
from dcr.ledger.verdicts import Stated
from dcr.published.tables import check_tables
from project import PROJECT
from published_example import example


def claims_of(values):
    return {
        (claim.number, claim.encoder, claim.kind): claim
        for claim in list_claims(check_tables(values, "published.yml"))
    }


def near(value, rounding):
    return Stated(pytest.approx(value), pytest.approx(rounding))


def test_an_improvement_is_the_difference_and_has_the_rounding_of_both():
    claims = claims_of(example())
    assert list(claims) == [(0, "plain", SCORE), (0, "sharp", IMPROVEMENT), (0, "sharp", SCORE)]
    improvement = claims[0, "sharp", IMPROVEMENT]
    assert improvement.published == near(0.133, 0.002)
    assert improvement.alternatives == [NO_CHANGE]
    assert improvement.base == "plain"


def test_a_score_is_told_from_its_bases_and_a_bases_from_what_was_made_of_it():
    claims = claims_of(example())
    (base,) = claims[0, "sharp", SCORE].alternatives
    (sharp,) = claims[0, "plain", SCORE].alternatives
    assert base.stated == near(0.2, 0.001)
    assert sharp.stated == near(0.333, 0.001)
    assert sharp.words == "the published score of DCR"


def test_a_stated_improvement_goes_before_the_difference_and_gives_the_base():
    values = example()
    table = values["tables"][0]
    table["values"] = {"sharp": 33.3}
    table["improvements"] = {"sharp": 13.9}
    claims = claims_of(values)
    assert claims[0, "sharp", IMPROVEMENT].published == near(0.139, 0.001)
    (base,) = claims[0, "sharp", SCORE].alternatives
    assert base.stated == near(0.194, 0.002)


def test_a_base_that_a_table_leaves_out_comes_from_the_same_document_alone():
    values = example()
    values["sources"]["other"] = {"title": "Another paper", "place": "elsewhere"}
    values["encoders"]["odd"] = {"name": "Odd", "method": "odd", "base": "plain"}
    ablation = deepcopy(values["tables"][0]) | {"title": "Ablation", "values": {"odd": 25.0}}
    values["tables"] += [ablation, deepcopy(ablation) | {"source": "other"}]
    claims = claims_of(values)
    assert claims[1, "odd", IMPROVEMENT].published == near(0.05, 0.002)
    assert (2, "odd", IMPROVEMENT) not in claims
    assert claims[2, "odd", SCORE].alternatives == []
    values["tables"][1]["rule"] = "group_score"
    assert (1, "odd", IMPROVEMENT) not in claims_of(values)


def test_every_published_number_is_a_claim():
    tables = PublishedTablesDataset(filepath=str(PROJECT / "conf/base/published.yml")).load()
    claims = list_claims(tables)
    scores = [claim for claim in claims if claim.kind == SCORE]
    assert len(scores) == sum(len(table.values) for table in tables.tables)
    improvements = {(c.number, c.encoder) for c in claims if c.kind == IMPROVEMENT}
    enhanced = {
        (number, name)
        for number, table in enumerate(tables.tables)
        for name in table.values
        if tables.encoders[name].base is not None
    }
    assert improvements == enhanced
