"""The rule by which a setting is chosen, on numbers that can be checked by eye."""

from itertools import permutations

import numpy as np
import pytest

from dcr.selection.rule import Rule, choose, judge_setting

RULE = Rule(improve={"detail": 0.01, "classes": 0.02}, keep={"text": 0.005, "retrieval": 0.0})
KEPT = {"text": 0.0, "retrieval": 0.0}


def choose_among(settings, rule=RULE):
    return choose({name: judge_setting(rule, KEPT | gains) for name, gains in settings.items()})


def test_the_smallest_gain_in_units_of_its_scale_counts():
    judgement = judge_setting(RULE, KEPT | {"detail": 0.03, "classes": 0.04})
    assert judgement.gain == pytest.approx(2.0)
    assert judgement.limited_by == "classes"
    assert choose_among(
        {"one_sided": {"detail": 0.09, "classes": 0.0}, "both": {"detail": 0.01, "classes": 0.02}}
    ) == (
        "both",
        True,
    )


def test_a_setting_may_lose_what_is_allowed_and_no_more():
    gains = {"detail": 0.01, "classes": 0.02, "text": -0.005, "retrieval": 0.0}
    assert judge_setting(RULE, gains).violations == {}
    assert judge_setting(RULE, gains | {"text": -0.007}).violations == {
        "text": pytest.approx(0.002)
    }
    assert judge_setting(RULE, gains | {"retrieval": -0.001}).violations == {
        "retrieval": pytest.approx(0.001)
    }


def test_rounding_of_a_mean_is_no_loss():
    base = 0.7
    mean = float(np.mean([base] * 3)) - 2e-16
    assert mean < base
    assert (
        judge_setting(
            RULE, {"detail": 0.0, "classes": 0.0, "text": 0.0, "retrieval": mean - base}
        ).violations
        == {}
    )


def test_the_largest_gain_is_not_chosen_if_it_loses_too_much():
    settings = {
        "greedy": {"detail": 0.1, "classes": 0.2, "text": -0.01},
        "modest": {"detail": 0.01, "classes": 0.01},
    }
    assert choose_among(settings) == ("modest", True)


def test_without_a_setting_that_keeps_all_the_least_violation_is_chosen_and_told():
    settings = {
        "text_twice": {"detail": 0.1, "classes": 0.2, "text": -0.015},
        "retrieval": {"detail": 0.0, "classes": 0.0, "retrieval": -0.003, "text": -0.006},
        "both": {"detail": 0.2, "classes": 0.2, "retrieval": -0.004},
    }
    assert choose_among(settings) == ("retrieval", False)


@pytest.mark.parametrize("order", permutations(["first", "second", "worse"]), ids="-".join)
def test_of_equal_settings_the_first_in_the_recipe_is_chosen(order):
    gains = {"first": 0.02, "second": 0.02, "worse": 0.01}
    settings = {name: {"detail": gains[name], "classes": 1.0} for name in order}
    assert choose_among(settings)[0] == next(name for name in order if name != "worse")
    violating = {
        name: {"detail": 0.0, "classes": 0.0, "text": gains[name] - 0.04} for name in order
    }
    assert choose_among(violating) == (next(name for name in order if name != "worse"), False)


def test_a_dominated_setting_is_never_chosen():
    """Of 200 random searches: nothing that keeps all has more of every measure that is to rise
    than the chosen one.
    """
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        rows = generator.normal(0, 0.01, size=(6, 4))
        settings = {
            str(number): dict(zip(RULE.measures, row, strict=True))
            for number, row in enumerate(rows)
        }
        name, keeps = choose_among(settings)
        losses = -rows[:, 2:] - [0.005, 0.0]
        allowed = (losses <= 0).all(axis=1)
        assert keeps == allowed.any()
        held += keeps
        if keeps:
            assert allowed[int(name)]
            assert not ((rows[:, :2] > rows[int(name), :2]).all(axis=1) & allowed).any()
        else:
            assert losses[int(name)].max() == losses.max(axis=1).min()
    assert 0 < held < 200


def test_a_measure_may_be_raised_and_kept():
    rule = Rule(improve={"detail": 0.01}, keep={"detail": 0.0})
    assert rule.measures == ["detail"]
    assert choose_among({"down": {"detail": -0.01}, "up": {"detail": 0.01}}, rule) == ("up", True)
