import numpy as np
import pytest

from dcr.validation import duplicates
from dcr.validation.duplicates import first_of_equals, first_of_near, near_pairs


def similar_hashes(seed, count=150):
    """Distinct hashes around five centres, 0 to 6 bits from them."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, 5, dtype=np.uint64)[rng.integers(0, 5, count)]
    for i in range(count):
        for bit in rng.integers(0, 64, rng.integers(0, 7)):
            hashes[i] ^= np.uint64(1) << np.uint64(bit)
    return rng.permutation(np.unique(hashes))


def distances(hashes):
    return np.array([[(int(a) ^ int(b)).bit_count() for b in hashes] for a in hashes])


@pytest.mark.parametrize("distance", [1, 2, 4, 7, 15])
@pytest.mark.parametrize("num_equal", [1, 2, 3])
def test_every_near_pair_is_found_once(monkeypatch, distance, num_equal):
    monkeypatch.setattr(duplicates, "choose_blocks", lambda *_: num_equal)
    hashes = similar_hashes(distance)
    found = [tuple(pair) for pairs in near_pairs(hashes, distance) for pair in pairs.tolist()]
    near = np.argwhere(np.triu(distances(hashes) <= distance, k=1))
    assert sorted(found) == [tuple(pair) for pair in near.tolist()]


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_is_kept_if_no_kept_one_before_it_is_near(seed):
    hashes, rng = similar_hashes(seed), np.random.default_rng(seed)
    last = rng.random(len(hashes)) < 0.2
    apart, kept = distances(hashes), []
    for position in np.argsort(last, kind="stable"):
        if not any(apart[position, other] <= 4 for other in kept):
            kept.append(position)
    leaders = first_of_near(hashes, last, np.ones(len(hashes), bool), 4)
    assert set(np.flatnonzero(leaders < 0)) == set(kept)
    others = np.flatnonzero(leaders >= 0)
    assert set(leaders[others]) <= set(kept)
    assert (apart[others, leaders[others]] <= 4).all()


def test_equal_hashes_are_near_at_any_distance():
    hashes = np.array([7, 1 << 40, 7, 5], np.uint64)
    assert first_of_near(hashes, np.zeros(4, bool), np.ones(4, bool), 0).tolist() == [-1, -1, 0, -1]
    assert first_of_near(hashes, np.zeros(4, bool), np.ones(4, bool), 1).tolist() == [-1, -1, 0, 0]


def test_those_that_do_not_take_part_repeat_nothing():
    eligible = np.array([True, False, True])
    assert first_of_near(np.zeros(3, np.uint64), np.zeros(3, bool), eligible, 4).tolist() == [
        -1,
        -1,
        0,
    ]
    assert (
        first_of_near(np.zeros(0, np.uint64), np.zeros(0, bool), np.zeros(0, bool), 4).tolist()
        == []
    )


def test_equals_are_equal_in_all_columns_and_the_last_come_last():
    columns = [np.array([1, 1, 1, 2, 1]), np.array([0, 0, 1, 0, 0])]
    last = np.array([True, False, False, False, False])
    assert first_of_equals(columns, last, np.ones(5, bool)).tolist() == [1, -1, -1, -1, 1]


def test_the_work_grows_far_slower_than_the_number_of_pairs():
    """Random hashes, of which a twentieth has a near copy: pairs compared per hash stay few as
    hashes become many.
    """
    compared = {}
    for count in (2_000, 64_000):
        rng = np.random.default_rng(count)
        keys = rng.integers(0, 2**64, count, dtype=np.uint64)
        num_equal = duplicates.choose_blocks(count, 4)
        masks = duplicates.bit_blocks(4 + num_equal)
        width = int(sum(int(mask).bit_count() for mask in masks[:num_equal]))
        compared[count] = (
            sum(len(p) for p in duplicates.equal_neighbours(keys >> np.uint64(64 - width))) / count
        )
    assert compared[64_000] < 4 * max(compared[2_000], 1)
