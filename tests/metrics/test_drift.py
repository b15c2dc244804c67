"""CKA and neighbour overlap against their definitions and known answers."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from dcr.metrics.drift import drift_scores, find_neighbours, linear_cka, neighbour_overlap


@pytest.fixture
def before():
    return np.random.default_rng(0).normal(size=(60, 5)) * [3, 2, 1, 1, 0.5] + 4


@pytest.fixture
def after(before):
    return before @ np.random.default_rng(1).normal(size=(5, 7)) + np.random.default_rng(2).normal(
        size=(60, 7)
    )


def test_cka_is_the_alignment_of_centred_gram_matrices(before, after):
    centre = np.eye(60) - 1 / 60
    k, m = (centre @ features @ features.T @ centre for features in (before, after))
    expected = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert linear_cka(before, after) == pytest.approx(expected, rel=1e-9)


def test_cka_ignores_rotation_scale_and_shift(before):
    rotated = before @ ortho_group.rvs(5, random_state=0) * 0.01 + 100
    assert linear_cka(before, rotated) == pytest.approx(1, abs=1e-9)
    assert linear_cka(before, before[:, ::-1]) == pytest.approx(1)


def test_cka_of_unrelated_features_is_small_and_of_constant_ones_undefined():
    x, y = np.random.default_rng(0).normal(size=(2, 20000, 4))
    assert linear_cka(x, y) < 0.001
    assert np.isnan(linear_cka(x, np.full((20000, 4), 0.1)))
    with pytest.raises(ValueError, match="same items, at least 2, got 5 and 4"):
        linear_cka(x[:5], y[:4])


def test_ckas_influence_is_its_derivative_in_an_items_count(before, after):
    step = 1e-5
    for item in (0, 13, 59):
        counts = np.ones((2, 60))
        counts[:, item] += [step, -step]
        high, low = (_weighted_cka(before, after, row) for row in counts)
        values = linear_cka(before, after, counts)
        assert values[0] - values[1] == pytest.approx(high - low, rel=1e-5)


def _weighted_cka(x, y, weights):
    x, y = (f - (weights @ f) / weights.sum() for f in (x, y))
    cross, own_x, own_y = (
        np.square((a.T * weights) @ b).sum() for a, b in ((x, y), (x, x), (y, y))
    )
    return cross / np.sqrt(own_x * own_y)


def test_neighbours_are_those_of_a_full_sort(before):
    unit = before / np.linalg.norm(before, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    expected = np.argsort(-cosines, axis=1)[:, :6]
    np.testing.assert_array_equal(find_neighbours(before, 6), expected)
    np.testing.assert_array_equal(find_neighbours(before, 6, np.array([3, 50])), expected[[3, 50]])
    with pytest.raises(ValueError, match=r"lie in \[1, 59\], got 60"):
        find_neighbours(before, 60)


def test_overlap_counts_neighbours_that_stay(before, after):
    first, second = find_neighbours(before, 4), find_neighbours(after, 4)
    expected = [len(set(a) & set(b)) / 4 for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(neighbour_overlap(before, after, 4), expected)
    np.testing.assert_array_equal(neighbour_overlap(before, before * 3, 4), np.ones(60))
    assert neighbour_overlap(before, after, 59).min() == 1


def test_scores_carry_the_number_of_neighbours(before, after):
    overlap = neighbour_overlap(before, after, 4)
    scores = drift_scores(before, after, overlap, 4, np.ones((3, 60)))
    assert list(scores) == ["cka", "neighbour_overlap@4"]
    np.testing.assert_allclose(scores["neighbour_overlap@4"], [overlap.mean()] * 3)
    np.testing.assert_allclose(scores["cka"], [linear_cka(before, after)] * 3)
