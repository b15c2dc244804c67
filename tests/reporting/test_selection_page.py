"""The page of a search: all candidates with what the rule looks at, and nothing from elsewhere."""

import re

import pytest

import selected


@pytest.fixture(scope="module")
def page():
    return selected.page(budget_hours=0.5)


def row_of(page, name):
    """Return the text of a candidate's row, its tags left out."""
    row = re.search(rf'<tr[^>]*><th scope="row">{name}.*?</tr>', page, re.DOTALL)[0]
    return " ".join(re.sub(r"<[^>]+>", " ", row).split())


def test_the_choice_and_its_reason_stand_first(page):
    heading = re.search(r"<h1>(.*?)</h1>", page)[1]
    assert heading.startswith("Of 3 candidates 2 keep what the rule asks for; of these both has")


def test_a_row_has_values_gains_and_what_was_lost_too_much(page):
    assert row_of(page, "both").startswith("both chosen 1.00 clustering ACC 62.0 +2.0")
    greedy = row_of(page, "greedy")
    assert "2.50 clustering ACC does not keep all" in greedy
    assert "88.0 −2.0" in greedy
    assert "1.0 too much" in greedy
    assert "text 6 0.10" in greedy  # alignment, steps of a seed, hours
    assert "too much" not in row_of(page, "detail")


def test_the_base_stands_as_it_is_and_as_it_is_aligned_with_a_candidate(page):
    assert row_of(page, "Base").startswith("Base 60.0 50.0 90.0")
    assert row_of(page, "Base, aligned as greedy").startswith(
        "Base, aligned as greedy 60.5 50.5 90.5"
    )


def test_the_rule_stands_over_its_columns(page):
    assert "to rise, in units of 1.00" in page
    assert "to lose at most 1.00" in page
    assert "No candidate held the rule" not in page


def test_what_it_took_and_how_many_were_tried_is_told(page):
    assert "The search took 0.30 hours; 0.5 were foreseen." in " ".join(page.split())
    assert "3 settings were tried in all" in page


def test_every_candidate_is_drawn(page):
    assert 'data-figure="selection_plot"' in page
    assert all(f'"name":"{name}"' in page for name in ("both", "detail", "greedy", "Base"))


def test_text_from_the_recipe_cannot_become_markup():
    evil = "</script><script>alert(1)</script>"
    page = selected.page(recipe=evil)
    assert evil not in page
    assert page.count("&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;") == 2
