"""Mean and spread over runs against SciPy's own intervals, and how often intervals hold the
truth.
"""

import numpy as np
import pytest
from scipy import stats

from dcr.metrics.runs import (
    interval_over_seeds_and_items,
    p_value_over_seeds_and_items,
    spread_over_runs,
)

VALUES = [0.31, 0.35, 0.28, 0.33]


def test_the_interval_is_students():
    spread = spread_over_runs(VALUES, 0.9)
    expected = stats.t.interval(0.9, 3, loc=np.mean(VALUES), scale=stats.sem(VALUES))
    assert spread.interval == pytest.approx(expected)
    assert (spread.num_runs, spread.mean, spread.std) == (
        4,
        pytest.approx(0.3175),
        pytest.approx(np.std(VALUES, ddof=1)),
    )


def test_one_run_has_no_spread():
    spread = spread_over_runs([0.5], 0.95)
    assert spread.mean == 0.5
    assert np.isnan([spread.std, *spread.interval]).all()


def test_no_run_is_an_error():
    with pytest.raises(ValueError, match="R > 0"):
        spread_over_runs([], 0.95)


def test_items_that_do_not_vary_leave_students_interval_of_the_seeds():
    replicates = np.repeat(np.array(VALUES)[:, None], 50, axis=1)
    assert interval_over_seeds_and_items(VALUES, replicates, 0.9) == pytest.approx(
        spread_over_runs(VALUES, 0.9).interval
    )


def test_seeds_that_do_not_vary_leave_the_normal_interval_of_the_items():
    draws = np.random.default_rng(0).normal(0.5, 0.02, size=500)
    low, high = interval_over_seeds_and_items([0.5, 0.5], np.stack([draws, draws]), 0.95)
    assert (low, high) == pytest.approx(stats.norm.interval(0.95, loc=0.5, scale=draws.std()))


def test_both_together_are_welchs_test_of_the_seeds_against_a_sample_without_end():
    """At the interval's bounds the p value of SciPy's test is what the interval leaves out."""
    shared = np.random.default_rng(1).normal(0, 0.015, size=2000)
    replicates = np.array(VALUES)[:, None] + shared
    for bound in interval_over_seeds_and_items(VALUES, replicates, 0.95):
        size = 10**9
        test = stats.ttest_ind_from_stats(
            np.mean(VALUES),
            np.std(VALUES, ddof=1),
            4,
            bound,
            shared.std() * size**0.5,
            size,
            equal_var=False,
        )
        assert test.pvalue == pytest.approx(0.05, abs=1e-4)


def test_one_seed_has_the_percentile_interval_of_its_items():
    draws = np.linspace(0, 1, 1001)
    assert interval_over_seeds_and_items([0.4], draws[None], 0.9) == pytest.approx((0.05, 0.95))


@pytest.mark.parametrize(
    ("num_seeds", "of_seeds", "of_items", "of_both"),
    [
        (2, 1, 0, 0),
        (3, 1, 1, 0),
        (3, 0.5, 1, 0.3),
        (3, 0, 1, 0),
        (5, 1, 1, 0.5),
        (5, 0.2, 0.2, 0.2),
    ],
)
def test_95_percent_intervals_hold_the_truth_in_95_percent(num_seeds, of_seeds, of_items, of_both):
    """Effects of seeds, of items and of both, as deviations of the mean over seeds, drawn anew
    in every experiment.
    """
    generator, num_items, covered, number = np.random.default_rng(0), 40, 0, 2000
    for _ in range(number):
        seeds = of_seeds * num_seeds**0.5 * generator.normal(size=(num_seeds, 1))
        items = of_items * num_items**0.5 * generator.normal(size=num_items)
        both = (
            of_both * (num_seeds * num_items) ** 0.5 * generator.normal(size=(num_seeds, num_items))
        )
        answers = seeds + items + both
        counts = generator.multinomial(num_items, np.full(num_items, 1 / num_items), size=100)
        low, high = interval_over_seeds_and_items(
            answers.mean(axis=1), answers @ counts.T / num_items, 0.95
        )
        covered += low <= 0 <= high
    assert 0.93 <= covered / number <= 0.97


@pytest.mark.parametrize("num_other_seeds", [1, 3])
@pytest.mark.parametrize(("num_seeds", "of_items"), [(2, 0.0), (3, 0.0), (3, 0.5), (5, 1.0)])
def test_the_mean_over_other_seeds_lies_in_its_interval_in_95_percent_on_other_items_or_the_same(
    num_seeds, of_items, num_other_seeds
):
    """What both answer, the items' own effect, is in the interval and not in the distance."""
    generator, num_items, covered, number = np.random.default_rng(0), 40, 0, 2000
    counts = generator.multinomial(num_items, np.full(num_items, 1 / num_items), size=100)
    for _ in range(number):
        items = of_items * num_items**0.5 * generator.normal(size=num_items)
        answers = generator.normal(size=(num_seeds, 1)) + items
        others = (generator.normal(size=(num_other_seeds, 1)) + items).mean()
        low, high = interval_over_seeds_and_items(
            answers.mean(axis=1), answers @ counts.T / num_items, 0.95, num_other_seeds
        )
        covered += low <= others <= high
    assert covered / number >= 0.93
    if of_items == 0:
        assert covered / number <= 0.97


def test_one_other_seed_of_normal_values_has_the_textbooks_prediction_interval():
    """Mean -+ t s (1 + 1 / S)^0.5 (Hahn and Meeker, Statistical Intervals, 1991, section 4.7)."""
    values = np.array([0.1, 0.2, 0.4])
    low, high = interval_over_seeds_and_items(values, np.zeros((3, 10)), 0.95, 1)
    reach = 4.302653 * values.std(ddof=1) * (4 / 3) ** 0.5
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=1e-6)
    p_value = p_value_over_seeds_and_items(values, np.zeros((3, 10)), 1)
    low, high = interval_over_seeds_and_items(values, np.zeros((3, 10)), 1 - p_value, 1)
    assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-7)


def test_seeds_that_answer_unlike_each_other_widen_the_interval_by_at_most_the_root_of_2():
    generator, num_items = np.random.default_rng(0), 400
    answers = generator.normal(size=(30, num_items))
    counts = generator.multinomial(num_items, np.full(num_items, 1 / num_items), size=400)
    low, high = interval_over_seeds_and_items(
        answers.mean(axis=1), answers @ counts.T / num_items, 0.95
    )
    assert (high - low) / 2 == pytest.approx(2**0.5 * 1.96 / (30 * num_items) ** 0.5, rel=0.2)


def test_replicates_of_other_seeds_are_an_error():
    with pytest.raises(
        ValueError, match=r"values \(S,\) and replicates \(S, R\) must be of S > 0 seeds"
    ):
        interval_over_seeds_and_items([0.1, 0.2], np.zeros((3, 10)), 0.95)


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize("shift", [0.0, 0.01, 0.05])
def test_the_p_value_of_several_seeds_is_where_the_interval_touches_zero(num_seeds, shift):
    generator = np.random.default_rng(num_seeds)
    values = generator.normal(shift, 0.02, size=num_seeds)
    replicates = values[:, None] + generator.normal(0, 0.03, size=(num_seeds, 500))
    p_value = p_value_over_seeds_and_items(values, replicates)
    assert 0 < p_value < 1
    low, high = interval_over_seeds_and_items(values, replicates, 1 - p_value)
    assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-7)


def test_the_p_value_of_one_seed_is_the_normal_approximation_of_its_resamples():
    from statistics import NormalDist

    generator = np.random.default_rng(0)
    replicates = generator.normal(0.1, 0.04, size=(1, 100_000))
    p_value = p_value_over_seeds_and_items([0.1], replicates)
    assert p_value == pytest.approx(2 * NormalDist().cdf(-0.1 / replicates.std()), rel=1e-9)
    beyond_zero = 2 * (replicates < 0).mean()
    assert p_value == pytest.approx(beyond_zero, rel=0.1)


def test_a_small_p_value_is_told_where_no_resample_lies_beyond_zero():
    replicates = np.random.default_rng(0).normal(0.1, 0.02, size=(1, 2000))
    assert (replicates > 0).all()
    assert 0 < p_value_over_seeds_and_items([0.1], replicates) < 1e-5 < 1 / 2000


def test_p_values_of_paired_means_are_uniform_where_nothing_changed():
    generator = np.random.default_rng(1)
    counts = generator.multinomial(200, np.full(200, 1 / 200), size=400)
    found = []
    for _ in range(300):
        differences = generator.normal(size=200)
        replicates = (counts @ differences / 200)[None]
        found.append(p_value_over_seeds_and_items([differences.mean()], replicates))
    below = np.mean(np.array(found) < 0.05)
    assert 0.02 < below < 0.09
    assert 0.4 < np.mean(found) < 0.6


def test_what_does_not_vary_is_certain():
    assert p_value_over_seeds_and_items([0.0], np.zeros((1, 10))) == 1
    assert p_value_over_seeds_and_items([1.0], np.ones((1, 10))) == 0
    assert p_value_over_seeds_and_items([0.5, 0.5], np.full((2, 10), 0.5)) == 0
