import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm

from dcr.metrics import bootstrap as module
from dcr.metrics.bootstrap import Bootstrap, mcnemar, percentile_interval
from dcr.metrics.embeddings import weighted_mean

VALUES = (np.random.default_rng(0).random(900) < 0.3).astype(float)
BOOTSTRAP = Bootstrap(num_resamples=4000, confidence=0.95, seed=0)


def mean_of(values):
    return lambda counts: {"mean": weighted_mean(values, counts)}


def test_the_interval_of_a_mean_approaches_the_normal_one():
    low, high = BOOTSTRAP.intervals(mean_of(VALUES), len(VALUES))["mean"]
    error = norm.ppf(0.975) * VALUES.std() / np.sqrt(len(VALUES))
    assert low == pytest.approx(VALUES.mean() - error, abs=0.1 * error)
    assert high == pytest.approx(VALUES.mean() + error, abs=0.1 * error)


def test_the_interval_agrees_with_scipy():
    expected = scipy_bootstrap(
        (VALUES,), np.mean, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    assert BOOTSTRAP.intervals(mean_of(VALUES), len(VALUES))["mean"] == pytest.approx(
        tuple(expected), abs=0.004
    )


def test_95_percent_intervals_cover_95_percent():
    generator, covered = np.random.default_rng(0), 0
    for seed in range(400):
        sample = generator.random(120) < 0.4
        low, high = Bootstrap(300, 0.95, seed).intervals(mean_of(sample), 120)["mean"]
        covered += low <= 0.4 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_every_draw_has_as_many_items_and_groups_keep_their_size():
    groups = np.array(["a"] * 5 + ["b"] * 2)
    draws = np.concatenate(list(Bootstrap(50, 0.9, 3).draw(7, groups)))
    assert draws.shape == (50, 7)
    assert set(draws[:, :5].sum(axis=1)) == {5.0}
    assert set(draws[:, 5:].sum(axis=1)) == {2.0}


def test_draws_are_the_same_in_any_chunks(monkeypatch):
    whole = np.concatenate(list(Bootstrap(64, 0.9, 3).draw(10)))
    monkeypatch.setattr(module, "_ELEMENTS", 30)
    chunks = list(Bootstrap(64, 0.9, 3).draw(10))
    assert len(chunks) > 10
    assert np.array_equal(np.concatenate(chunks), whole)


def test_one_seed_gives_one_interval_and_another_seed_another():
    first, again, other = (
        Bootstrap(200, 0.95, seed).intervals(mean_of(VALUES), 900) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_replicates_of_two_encoders_are_of_the_same_draws():
    """So that their difference is the mean of paired differences in every resample."""
    after = VALUES.copy()
    after[:30] = 1.0
    before, second, change = (
        BOOTSTRAP.replicates(mean_of(values), 900)["mean"]
        for values in (VALUES, after, after - VALUES)
    )
    np.testing.assert_allclose(second - before, change, atol=1e-12)
    low, high = percentile_interval(second - before, 0.95)
    changes = after - VALUES
    error = norm.ppf(0.975) * changes.std() / np.sqrt(len(changes))
    assert 0 < low < changes.mean() < high
    assert high - low == pytest.approx(2 * error, rel=0.1)


def test_a_percentile_interval_leaves_out_nan_and_the_tails():
    assert percentile_interval([*range(101), np.nan], 0.9) == pytest.approx((5, 95))


def test_equal_answers_flip_nothing():
    assert mcnemar(VALUES > 0.5, VALUES > 0.5) == (0, 0, 1.0)


def test_mcnemar_counts_flips_and_equals_the_binomial_sum():
    before = np.array([False] * 8 + [True] * 2 + [True] * 5)
    after = np.array([True] * 8 + [False] * 2 + [True] * 5)
    gained, lost, p_value = mcnemar(before, after)
    assert (gained, lost) == (8, 2)
    assert p_value == pytest.approx(2 * (1 + 10 + 45) / 2**10)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="num_resamples must be >= 1, got 0"):
        Bootstrap(0, 0.95, 0)
    with pytest.raises(ValueError, match=r"confidence must lie in \(0, 1\), got 95"):
        Bootstrap(10, 95, 0)
    with pytest.raises(ValueError, match=r"one shape \(N,\)"):
        mcnemar(np.zeros(3), np.zeros(4))


def test_draws_that_are_kept_cannot_be_changed_by_who_reads_them():
    (first,) = BOOTSTRAP.draw(9, ["a"] * 4 + ["b"] * 5)
    with pytest.raises(ValueError, match="read-only"):
        first += 1
    (again,) = BOOTSTRAP.draw(9, ["a"] * 4 + ["b"] * 5)
    np.testing.assert_array_equal(first, again)
