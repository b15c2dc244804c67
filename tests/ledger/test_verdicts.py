"""The rule of the ledger, on its exact bounds and by how often it is right."""

import numpy as np
import pytest

from dcr.evaluation.comparison import Estimate, estimate, predict
from dcr.ledger.claims import NO_CHANGE
from dcr.ledger.verdicts import (
    CANNOT_BE_TOLD,
    NOT_REPRODUCED,
    REPRODUCED,
    Alternative,
    Decision,
    Stated,
    decide,
)
from dcr.metrics.bootstrap import Bootstrap
from measured import constant, mean_of

BASE = Alternative("its base's published score", Stated(0.20, 0.01))
PUBLISHED = Stated(0.30, 0.01)


def measured(low, high, value=None, num_seeds=0):
    return Estimate((low + high) / 2 if value is None else value, low, high, num_seeds)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.25, 0.35, REPRODUCED),
        (0.15, 0.35, CANNOT_BE_TOLD),
        (0.32, 0.40, NOT_REPRODUCED),
        (0.10, 0.28, NOT_REPRODUCED),
        # The bounds: 0.30 may be 0.29 to 0.31, 0.20 may be 0.19 to 0.21.
        (0.31, 0.40, REPRODUCED),
        (0.3101, 0.40, NOT_REPRODUCED),
        (0.22, 0.29, REPRODUCED),
        (0.22, 0.2899, NOT_REPRODUCED),
        (0.21, 0.35, CANNOT_BE_TOLD),
        (0.2101, 0.35, REPRODUCED),
        (0.10, 0.29, CANNOT_BE_TOLD),
        (0.30, 0.30, REPRODUCED),
        (0.0, 1.0, CANNOT_BE_TOLD),
    ],
)
def test_an_interval_must_hold_the_number_and_leave_out_the_alternative(low, high, verdict):
    assert decide(PUBLISHED, [BASE], measured(low, high)).verdict == verdict


def test_one_alternative_that_the_interval_holds_is_enough():
    other = Alternative("the published score of DIVA", Stated(0.34, 0.0))
    decision = decide(PUBLISHED, [BASE, other], measured(0.25, 0.35))
    assert decision.verdict == CANNOT_BE_TOLD
    assert "the published score of DIVA" in decision.reason
    assert "its base" not in decision.reason
    assert decide(PUBLISHED, [BASE, other], measured(0.25, 0.33)).verdict == REPRODUCED


def test_an_improvement_is_told_from_no_change():
    gain = Stated(0.06, 0.002)
    assert decide(gain, [NO_CHANGE], measured(0.01, 0.09)).verdict == REPRODUCED
    assert decide(gain, [NO_CHANGE], measured(0.0, 0.09)).verdict == CANNOT_BE_TOLD
    assert decide(gain, [NO_CHANGE], measured(0.01, 0.05)).verdict == NOT_REPRODUCED
    assert decide(gain, [NO_CHANGE], measured(-0.09, -0.01)).verdict == NOT_REPRODUCED


def test_a_published_loss_is_a_claim_like_a_gain():
    loss = Stated(-0.06, 0.01)
    assert decide(loss, [NO_CHANGE], measured(-0.10, -0.02)).verdict == REPRODUCED
    assert decide(loss, [NO_CHANGE], measured(-0.10, 0.02)).verdict == CANNOT_BE_TOLD


def test_a_published_change_within_its_rounding_can_only_be_refuted():
    nothing = Stated(0.001, 0.001)
    decision = decide(nothing, [NO_CHANGE], measured(-0.1, 0.1))
    assert decision.verdict == CANNOT_BE_TOLD
    assert decision.reason.endswith("which is the published number within rounding")
    assert decide(nothing, [NO_CHANGE], measured(0.0021, 0.1)).verdict == NOT_REPRODUCED


def test_without_an_alternative_an_interval_can_refute_and_no_more():
    assert decide(PUBLISHED, [], measured(0.29, 0.31)).verdict == CANNOT_BE_TOLD
    assert decide(PUBLISHED, [], measured(0.35, 0.40)).verdict == NOT_REPRODUCED


def test_the_same_digits_on_the_same_items_need_no_interval():
    wide = measured(0.0, 1.0, value=0.305)
    assert decide(PUBLISHED, [BASE], wide, has_same_items=True) == Decision(
        REPRODUCED, "the same in every stated digit", is_exact=True
    )
    assert decide(PUBLISHED, [BASE], wide).verdict == CANNOT_BE_TOLD
    beside = measured(0.0, 1.0, value=0.3101)
    assert decide(PUBLISHED, [BASE], beside, has_same_items=True).verdict == CANNOT_BE_TOLD
    edge = measured(0.0, 1.0, value=0.31)
    assert decide(PUBLISHED, [BASE], edge, has_same_items=True).is_exact


def test_one_training_tells_nothing_even_where_its_interval_is_far_away():
    assert decide(PUBLISHED, [BASE], measured(0.5, 0.6, num_seeds=1)).verdict == CANNOT_BE_TOLD
    assert decide(PUBLISHED, [BASE], measured(0.5, 0.6, num_seeds=2)).verdict == NOT_REPRODUCED


@pytest.mark.parametrize(
    ("predicted", "verdict"),
    [
        ((0.31, 0.61), CANNOT_BE_TOLD),
        ((0.3101, 0.61), NOT_REPRODUCED),
        ((0.20, 0.70), CANNOT_BE_TOLD),
        (None, NOT_REPRODUCED),
    ],
)
def test_what_other_trainings_may_give_is_not_refuted(predicted, verdict):
    found = measured(0.40, 0.50, num_seeds=3)
    decision = decide(PUBLISHED, [BASE], found, predicted)
    assert decision.verdict == verdict
    assert decision.reason.startswith("higher here")
    inside = decide(PUBLISHED, [BASE], measured(0.25, 0.35, num_seeds=3), (0.0, 1.0))
    assert inside.verdict == REPRODUCED


def test_what_has_no_interval_cannot_be_told():
    nothing = Estimate(0.3, np.nan, np.nan, 0)
    assert decide(PUBLISHED, [BASE], nothing).verdict == CANNOT_BE_TOLD


@pytest.mark.parametrize(
    ("half_width", "times"), [(0.10, "2"), (0.16, "4"), (0.80, "100"), (0.79, "98")]
)
def test_more_items_are_told_by_the_square_of_what_is_missing(half_width, times):
    """Between 0.30 and 0.20, each known to 0.01, lie 0.08."""
    found = measured(0.30 - half_width, 0.30 + half_width)
    assert f"; about {times} times as many items" in decide(PUBLISHED, [BASE], found).reason
    trained = measured(0.30 - half_width, 0.30 + half_width, num_seeds=3)
    assert "times as many" not in decide(PUBLISHED, [BASE], trained).reason


def test_which_side_of_the_number_the_measured_one_lies_is_told():
    assert decide(PUBLISHED, [BASE], measured(0.4, 0.5)).reason.startswith("higher here")
    assert decide(PUBLISHED, [BASE], measured(0.1, 0.2)).reason.startswith("lower here")


def rates_of(true_gain, published_gain, num_items, draws=400):
    """Return how often each verdict is given to an improvement that is truly ``true_gain``."""
    generator = np.random.default_rng(0)
    bootstrap = Bootstrap(num_resamples=300, confidence=0.95, seed=0)
    verdicts = []
    for _ in range(draws):
        shared = generator.random(num_items)
        before, after = (shared < rate for rate in (0.3, 0.3 + true_gain))
        kept = generator.random(num_items) < 0.2  # a fifth of the items are answered anew
        after = np.where(kept, generator.random(num_items) < 0.3 + true_gain, after)
        difference = mean_of(after, bootstrap=bootstrap) - mean_of(before, bootstrap=bootstrap)
        found = estimate([difference], 0.95, trained=False)
        verdicts.append(decide(Stated(published_gain, 0.001), [NO_CHANGE], found).verdict)
    return {
        name: verdicts.count(name) / draws for name in (REPRODUCED, NOT_REPRODUCED, CANNOT_BE_TOLD)
    }


def test_an_equal_training_is_refuted_as_rarely_as_the_interval_says_but_not_by_that_of_the_mean():
    """Published and measured trainings are of one kind, and seeds vary more than items: the mean's
    interval alone would refute one in six of them.
    """
    generator = np.random.default_rng(1)
    refuted = {"mean": 0, "others": 0}
    draws = 2000
    for _ in range(draws):
        *own, theirs = generator.normal(0.1, 0.02, 4)
        seeds = [constant(value) for value in own]
        found = estimate(seeds, 0.95)
        predicted = predict(seeds, 0.95, 1)
        published = Stated(theirs, 0.0)
        verdicts = {
            "mean": decide(published, [NO_CHANGE], found).verdict,
            "others": decide(published, [NO_CHANGE], found, predicted).verdict,
        }
        for name, verdict in verdicts.items():
            refuted[name] += verdict == NOT_REPRODUCED
    assert refuted["others"] / draws == pytest.approx(0.05, abs=0.015)
    assert refuted["mean"] / draws == pytest.approx(1 / 6, abs=0.025)


def test_a_true_improvement_is_refuted_as_rarely_as_the_interval_says():
    """5 % of 400, within three standard errors and what a percentile interval errs by."""
    few, many = (rates_of(0.12, 0.12, number) for number in (30, 400))
    assert few[NOT_REPRODUCED] < 0.10
    assert many[NOT_REPRODUCED] < 0.09
    assert few[CANNOT_BE_TOLD] > 0.3  # with thirty items nobody can tell
    assert many[REPRODUCED] > 0.9


def test_where_nothing_changed_an_improvement_is_reproduced_as_rarely_as_the_interval_says():
    for number in (30, 400):
        assert rates_of(0.0, 0.12, number)[REPRODUCED] < 0.06
    assert rates_of(0.0, 0.12, 400)[NOT_REPRODUCED] > 0.9
