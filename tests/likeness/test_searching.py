"""The search among features, by comparing all with all."""

import numpy as np
import pytest

from dcr.errors import UserError
from dcr.likeness.index import VectorIndex, num_cells
from dcr.likeness.searching import add_unlike, build_index, distances, nearest_of


def vectors(count, width=16, seed=0):
    """Return unit vectors as features are kept, in halves."""
    drawn = np.random.default_rng(seed).standard_normal((count, width))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit.astype(np.float16).astype(np.float32)


def in_blocks(table, size=70):
    return lambda: (table[start : start + size] for start in range(0, len(table), size))


def firsts(table, threshold):
    """Return whom each is like, by asking the kept ones before it one by one."""
    like = np.full(len(table), -1)
    cosines = table @ table.T
    for row in range(len(table)):
        kept = [other for other in range(row) if like[other] < 0]
        near = [other for other in kept if cosines[row, other] >= threshold]
        like[row] = max(near, key=lambda other: cosines[row, other]) if near else -1
    return like


@pytest.mark.parametrize("size", [70, 1500])
def test_those_that_are_like_an_earlier_one_follow_it(size):
    """Wherever a block ends, and where it is compared in pieces."""
    table = vectors(1500, width=6)
    blocks = in_blocks(table, size)
    like = add_unlike(build_index(blocks, 1500), blocks, 0.9)
    expected = firsts(table, 0.9)
    assert ((like >= 0) == (expected >= 0)).all()
    assert 100 < (like >= 0).sum() < 1400
    followers = np.flatnonzero(like >= 0)
    assert (like[like[followers]] == -1).all()
    assert (np.einsum("nd,nd->n", table[followers], table[like[followers]]) > 0.9 - 1e-3).all()


def test_many_equal_vectors_are_one_and_cost_no_pairs():
    table = np.tile(vectors(1), (3000, 1))
    index = build_index(in_blocks(table, 1000), 3000)
    like = add_unlike(index, in_blocks(table, 1000), 0.95)
    assert like.tolist() == [-1] + [0] * 2999
    assert len(index) == 1


def test_vectors_of_zeros_are_like_none():
    table = vectors(100)
    table[[3, 50]] = 0
    index = build_index(in_blocks(table), 100)
    assert (add_unlike(index, in_blocks(table), 0.999) == -1).all()
    assert len(index) == 98
    assert np.flatnonzero(np.isnan(distances(index, in_blocks(table), 3))).tolist() == [3, 50]
    assert nearest_of(index, in_blocks(table), 0.999)[[2, 3]].tolist() == [2, -1]


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_a_vector_of_zeros_is_like_none_by_any_threshold(threshold):
    table = vectors(1200)
    table[[3, 700, 1199]] = 0
    index = build_index(in_blocks(table), 1200)
    like = add_unlike(index, in_blocks(table), threshold)
    assert (like[[3, 700, 1199]] == -1).all()
    assert not np.isin(like, [3, 700, 1199]).any()
    assert (nearest_of(index, in_blocks(table), threshold)[[3, 700, 1199]] == -1).all()


@pytest.mark.parametrize("known", [[], [77]], ids=["none", "one of many"])
def test_samples_of_which_hardly_one_was_decoded_are_searched(known):
    """Cells are learnt of a few of them, which may all be vectors of zeros."""
    table = np.zeros((2000, 16), np.float32)
    table[known] = vectors(1)
    index = build_index(in_blocks(table), 2000)
    assert (add_unlike(index, in_blocks(table), 0.9) == -1).all()
    assert len(index) == len(known)
    assert np.isnan(distances(index, in_blocks(table), 3)).all()
    assert np.flatnonzero(nearest_of(index, in_blocks(table), 0.9) >= 0).tolist() == known


@pytest.mark.parametrize("size", [70, 1500])
def test_distances_are_the_means_over_the_nearest_others(size):
    table = vectors(1500)
    index = build_index(in_blocks(table, size), 1500)
    add_unlike(index, in_blocks(table, size), None)
    cosines = table @ table.T
    np.fill_diagonal(cosines, -2)
    expected = 1 - np.sort(cosines, axis=1)[:, -5:].mean(axis=1)
    np.testing.assert_allclose(distances(index, in_blocks(table, size), 5), expected, atol=1e-5)


def test_one_vector_alone_has_no_distance():
    index = build_index(in_blocks(vectors(1)), 1)
    add_unlike(index, in_blocks(vectors(1)), None)
    assert np.isnan(distances(index, in_blocks(vectors(1)), 3)).all()


def test_planted_copies_are_found_among_many_cells():
    """With more vectors than are compared with all, so that cells are looked into."""
    table = vectors(6000, width=32)
    copies = table[:200] + 0.02 * vectors(200, width=32, seed=1)
    table[-200:] = copies / np.linalg.norm(copies, axis=1, keepdims=True)
    assert num_cells(6000) > 100
    like = add_unlike(build_index(in_blocks(table, 500), 6000), in_blocks(table, 500), 0.95)
    assert (like[-200:] == np.arange(200)).mean() >= 0.99
    assert (like[:-200] >= 0).sum() == 0


def test_the_same_vectors_give_the_same_answers():
    table = vectors(5000, width=8)
    answers = [
        add_unlike(build_index(in_blocks(table, 900), 5000), in_blocks(table, 900), 0.9)
        for _ in range(2)
    ]
    assert (answers[0] == answers[1]).all()


def test_without_faiss_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"dcr\[likeness\]"):
        VectorIndex(vectors(10), 10)
