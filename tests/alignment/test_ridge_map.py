"""The closed form against least squares with augmented rows, and against what it must be where
the answer is known.
"""

import tracemalloc

import numpy as np
import pytest

from dcr.alignment.ridge_map import CrossMoments, blend, fit_ridge_map, mean_cosine

RIDGES = [1e-8, 1e-4, 1e-2, 1.0]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embeddings(number, width=6, seed=0):
    generator = np.random.default_rng(seed)
    return unit(generator.normal(size=(number, width)) * np.geomspace(1, 0.05, width) + 0.3)


def in_batches(x, y, size=7):
    return ((x[start : start + size], y[start : start + size]) for start in range(0, len(x), size))


@pytest.mark.parametrize("ridge", RIDGES)
def test_the_map_is_numpys_least_squares_with_the_ridge_as_further_rows(ridge):
    x, y = embeddings(50), embeddings(50, seed=1)
    moments = CrossMoments(6)
    for batch in in_batches(x, y):
        moments.add(*batch)
    rows = np.sqrt(ridge * len(x)) * np.eye(6)
    expected = np.linalg.lstsq(np.vstack([x, rows]), np.vstack([y, np.zeros((6, 6))]), rcond=None)[
        0
    ]
    np.testing.assert_allclose(moments.solve(RIDGES)[ridge], expected, atol=1e-9)


def test_all_ridges_come_from_one_reading():
    x, y = embeddings(50), embeddings(50, seed=1)
    batches = in_batches(x, y)
    _, _, cosines = fit_ridge_map(batches, (x[:9], y[:9]), RIDGES)
    assert list(cosines) == RIDGES
    assert next(batches, None) is None


def test_an_encoder_mapped_to_itself_stays():
    x, out = embeddings(200, 32), embeddings(40, 32, seed=1)
    matrix, ridge, _ = fit_ridge_map(in_batches(x, x), (out, out), [1e-2, 1e-12])
    assert ridge == 1e-12
    np.testing.assert_allclose(out @ matrix, out, atol=1e-4)


def test_a_rotation_is_undone():
    y, out = embeddings(200), embeddings(40, seed=1)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    matrix, _, cosines = fit_ridge_map(in_batches(y @ rotation, y), (out @ rotation, out), RIDGES)
    np.testing.assert_allclose(matrix, rotation.T, atol=1e-3)
    assert max(cosines.values()) == pytest.approx(1)


def test_the_ridge_is_that_of_the_best_held_out_cosine():
    """Few images and noise that is of no use: the least ridge fits it, and the held-out images
    tell.
    """
    generator = np.random.default_rng(3)
    y, out = embeddings(12, 8), embeddings(300, 8, seed=1)
    x, out_x = (unit(rows + 0.5 * generator.normal(size=rows.shape)) for rows in (y, out))
    _, ridge, cosines = fit_ridge_map(in_batches(x, y), (out_x, out), RIDGES)
    assert ridge == max(cosines, key=cosines.get) != RIDGES[0]
    for value, cosine in cosines.items():
        matrix = fit_ridge_map(in_batches(x, y), (out_x, out), [value])[0]
        mapped = unit(out_x @ matrix)
        assert cosine == pytest.approx(np.mean([a @ b for a, b in zip(mapped, out, strict=True)]))


def test_collinear_embeddings_are_no_fault():
    x = np.repeat(embeddings(1), 20, axis=0)
    matrix, _, cosines = fit_ridge_map(in_batches(x, x), (x, x), RIDGES)
    assert np.isfinite(matrix).all()
    assert max(cosines.values()) == pytest.approx(1)


def test_memory_is_bounded_by_the_batch():
    width, batch = 16, 64
    peaks = []
    for number in (4, 400):
        generator = np.random.default_rng(0)
        batches = (
            (x, x) for x in (generator.random((batch, width), np.float32) for _ in range(number))
        )
        tracemalloc.start()
        fit_ridge_map(batches, (np.ones((2, width)), np.ones((2, width))), RIDGES)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_float32_batches_are_summed_in_float64():
    x = embeddings(64).astype(np.float32)
    moments = CrossMoments(6)
    for _ in range(300):
        moments.add(x, x)
    once = CrossMoments(6)
    once.add(x, x)
    np.testing.assert_allclose(moments.solve([1e-3])[1e-3], once.solve([1e-3])[1e-3], rtol=1e-9)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, [[1, 0], [0, 1]]), (0.25, [[1.25, 0.5], [0, 0.75]])]
)
def test_a_blend_goes_a_share_of_the_way_from_the_identity(share, expected):
    np.testing.assert_allclose(blend(np.array([[2.0, 2.0], [0.0, 0.0]]), share), expected)


def test_the_mean_cosine_knows_no_length():
    x, y = embeddings(5), embeddings(5, seed=1)
    assert mean_cosine(3 * x, 0.1 * y) == pytest.approx((x * y).sum(axis=1).mean())
    assert mean_cosine(np.zeros((2, 3)), np.ones((2, 3))) == 0
