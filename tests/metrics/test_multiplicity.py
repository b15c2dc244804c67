"""Holm's correction against a plain loop, known values and the probability that it promises."""

import numpy as np
import pytest
from scipy.stats import norm

from dcr.metrics.multiplicity import holm


def reject_plainly(p_values, alpha):
    """Holm's steps as he tells them: the smallest p against alpha / N, the next against
    alpha / (N - 1), until one is larger.
    """
    left = dict(enumerate(p_values))
    rejected = set()
    while left:
        smallest = min(left, key=left.get)
        if left[smallest] > alpha / len(left):
            break
        rejected.add(smallest)
        del left[smallest]
    return rejected


def test_known_values():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.6]), [1, 1])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_what_is_rejected_is_what_the_steps_reject(alpha):
    generator = np.random.default_rng(0)
    numbers = []
    for size in [*range(1, 30), 100]:
        p_values = generator.uniform(size=size) ** 4
        rejected = set(np.flatnonzero(holm(p_values) <= alpha).tolist())
        assert rejected == reject_plainly(p_values.tolist(), alpha)
        numbers.append(len(rejected))
    assert max(numbers) > 1


def test_it_lies_between_no_correction_and_bonferronis():
    p_values = np.random.default_rng(1).uniform(size=50) ** 3
    adjusted = holm(p_values)
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1, 50 * p_values)).all()
    order = np.argsort(p_values)
    assert (np.diff(adjusted[order]) >= 0).all()


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_a_false_rejection_is_as_rare_as_promised_whatever_depends_on_what(correlation):
    generator = np.random.default_rng(2)
    false = 0
    for _ in range(2000):
        shared = generator.normal()
        scores = correlation**0.5 * shared + (1 - correlation) ** 0.5 * generator.normal(size=20)
        scores[:5] += 4  # five that are no false rejections
        adjusted = holm(2 * norm.sf(np.abs(scores)))
        false += (adjusted[5:] <= 0.05).any()
    assert false / 2000 <= 0.06  # 0.05 and three standard deviations of the count


@pytest.mark.parametrize("p_values", [[-0.1], [1.1], [float("nan")], [[0.1]]])
def test_what_is_no_p_value_is_named(p_values):
    with pytest.raises(ValueError, match=r"must be \(N,\) in \[0, 1\]"):
        holm(p_values)
