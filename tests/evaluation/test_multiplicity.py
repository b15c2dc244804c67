"""Which verdicts survive where many are read together."""

from dataclasses import replace

import pytest

from dcr.evaluation.comparison import BETTER, NOISE
from dcr.evaluation.multiplicity import correct
from measured import comparison


def judged(key, p_value, interval=(0.01, 0.2), num_seeds=3):
    return replace(comparison(key, 0.4, 0.5, interval, num_seeds), p_value=p_value)


def test_one_of_many_survives_only_with_a_small_p():
    many = [judged(f"a.{number}", 0.5, (-0.1, 0.2)) for number in range(19)]
    family = correct({"dcr": [judged("a.first", 0.03), *many]}, 0.95)
    assert (family.num_compared, family.num_apart, family.survivors) == (20, 1, frozenset())
    assert family.by_chance == pytest.approx(1)
    assert correct({"dcr": [judged("a.first", 0.002), *many]}, 0.95).survivors == {
        ("dcr", "a.first")
    }
    assert correct({"dcr": [judged("a.first", 0.03)]}, 0.95).survivors == {("dcr", "a.first")}


def test_verdicts_of_all_encoders_that_are_shown_count():
    found = {"dcr": [judged("a.b", 0.02)], "naive": [judged("a.b", 0.02), judged("a.c", 0.001)]}
    assert correct(found, 0.95).survivors == {("dcr", "a.b"), ("naive", "a.b"), ("naive", "a.c")}
    found["other"] = [judged("a.d", 0.9, (-0.1, 0.2))] * 2
    assert correct(found, 0.95).survivors == {("naive", "a.c")}


def test_one_seed_has_no_verdict_and_does_not_count():
    found = {"dcr": [judged("a.b", 0.03), judged("a.c", 0.0001, num_seeds=1)]}
    family = correct(found, 0.95)
    assert (family.num_compared, family.survivors) == (1, {("dcr", "a.b")})
    assert correct({"dcr": [judged("a.c", 0.0001, num_seeds=1)]}, 0.95).num_compared == 0


def test_what_survives_has_a_verdict():
    disagreeing = judged("a.b", 0.04, interval=(-0.001, 0.2))
    assert disagreeing.verdict == NOISE
    assert correct({"dcr": [disagreeing]}, 0.95).survivors == frozenset()


def test_a_comparison_of_an_earlier_version_has_no_p_value_and_is_not_told_of():
    old = comparison("a.b", 0.4, 0.5, (0.01, 0.2))
    assert (old.verdict, old.p_value) == (BETTER, None)
    assert correct({"dcr": [old]}, 0.95).num_compared == 0
