"""Which samples repeat others, exactly or nearly, in sorted passes over compact arrays.

Near duplicates are pairs of 64-bit hashes within a Hamming distance d. Their bits are cut into d +
k blocks; such a pair has at least k equal blocks, so for each choice of k blocks the hashes are
sorted by them and only equal neighbours are compared (Manku, Jain, Das Sarma, "Detecting
near-duplicates for web crawling", WWW 2007). k grows with the number of hashes N, so that few
unequal hashes share k blocks: C(d + k, k) sorts, N log N each, and memory of about 40 bytes a hash
and 8 bytes a pair found. Hashes that are crafted to share blocks cost their number squared.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import comb

import numpy as np

_BITS = 64
_PAIR_COST = 0.2  # of a pair compared, in units of one hash sorted


def first_of_equals(
    columns: list[np.ndarray], last: np.ndarray, eligible: np.ndarray
) -> np.ndarray:
    """Return for each sample the position of the one that it repeats, -1 for the first of its kind.

    Args:
        columns: arrays (N,) that are equal in all for equal samples.
        last: bool (N,): samples that come after all others in the choice of the first; else the
            order is theirs.
        eligible: bool (N,): the samples that take part.
    """
    leaders = np.full(len(last), -1, np.int64)
    positions = np.flatnonzero(eligible)
    if len(positions) == 0:
        return leaders
    positions = positions[np.lexsort([last[positions], *(column[positions] for column in columns)])]
    new = np.ones(len(positions), bool)
    new[1:] = np.any(
        [column[positions[1:]] != column[positions[:-1]] for column in columns], axis=0
    )
    starts = np.maximum.accumulate(np.where(new, np.arange(len(positions)), 0))
    leaders[positions[~new]] = positions[starts[~new]]
    return leaders


def first_of_near(
    hashes: np.ndarray, last: np.ndarray, eligible: np.ndarray, distance: int
) -> np.ndarray:
    """Return for each sample the kept one that it nearly equals, -1 for the kept.

    Kept samples are further than ``distance`` from each other, every other one lies within it of a
    kept one: in the order of choice a sample is kept if no kept one is near.

    Args:
        hashes: uint64 (N,).
        last, eligible: as in `first_of_equals`.
        distance: in bits.
    """
    leaders = first_of_equals([hashes], last, eligible)
    firsts = np.flatnonzero(eligible & (leaders < 0))
    firsts = firsts[np.argsort(last[firsts], kind="stable")]
    kept = _keep(
        np.concatenate([*near_pairs(hashes[firsts], distance), np.empty((0, 2), np.int32)]),
        len(firsts),
    )
    dropped = kept >= 0
    leaders[firsts[dropped]] = firsts[kept[dropped]]
    copies = np.flatnonzero(leaders >= 0)
    onward = leaders[leaders[copies]]
    leaders[copies] = np.where(onward >= 0, onward, leaders[copies])
    return leaders


def near_pairs(hashes: np.ndarray, distance: int) -> Iterator[np.ndarray]:
    """Yield all pairs of positions (M, 2) of distinct hashes within ``distance``, each once.

    The smaller position comes first.

    Args:
        hashes: uint64 (N,), no two equal.
        distance: in bits, 0 to 15.
    """
    if distance == 0 or len(hashes) < 2:
        return
    num_equal = choose_blocks(len(hashes), distance)
    blocks = bit_blocks(distance + num_equal)
    for chosen in combinations(range(len(blocks)), num_equal):
        for pairs in equal_neighbours(hashes & np.bitwise_or.reduce(blocks[list(chosen)])):
            differing = hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]
            pairs, differing = (
                x[np.bitwise_count(differing) <= distance] for x in (pairs, differing)
            )
            equal = (differing[:, None] & blocks) == 0
            # A pair with more than k equal blocks comes up often: the first choice takes it.
            numbers = np.cumsum(equal, axis=1) * equal
            yield np.sort(pairs[numbers[:, chosen[-1]] == num_equal], axis=1)


def bit_blocks(count: int) -> np.ndarray:
    """Return masks, uint64 (count,), that cut 64 bits into ``count`` blocks of about one width."""
    edges = np.linspace(0, _BITS, count + 1).astype(int)
    return np.array([((1 << (b - a)) - 1) << a for a, b in pairwise(edges)], np.uint64)


def choose_blocks(count: int, distance: int) -> int:
    """Return the number of equal blocks with the least expected work.

    Args:
        count: of hashes that are compared.
        distance: in bits, up to which two of them are near.
    """

    def work(num_equal: int) -> float:
        """Return the expected cost with ``num_equal`` equal blocks, in units of one hash sorted."""
        bits = num_equal * _BITS // (distance + num_equal)
        of_one = float(count + _PAIR_COST * count**2 / 2**bits)
        return comb(distance + num_equal, num_equal) * of_one

    return min(range(1, 6), key=work)


def equal_neighbours(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Yield all pairs of positions, (P, 2) int32, whose keys are equal.

    Pairs at the same distance in sorted order come together.

    Args:
        keys: (N,) uint64.
    """
    order = np.argsort(keys).astype(np.int32)
    keys = keys[order]
    active = np.arange(len(keys) - 1)
    step = 1
    while len(active := active[active + step < len(keys)]):
        active = active[keys[active] == keys[active + step]]
        yield np.stack([order[active], order[active + step]], axis=1)
        step += 1


def _keep(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return the kept neighbour of each of ``count`` samples, -1 for the kept.

    Smaller positions choose first.
    """
    leaders = np.full(count, -1, np.int64)
    undecided = np.ones(count, bool)
    # Of several kept neighbours the first writes last, and so stays.
    pairs = pairs[np.lexsort([pairs[:, 0], pairs[:, 1]])[::-1]]
    while len(pairs):
        blocked = np.zeros(count, bool)
        blocked[pairs[:, 1]] = True
        kept = undecided & ~blocked
        hits = pairs[kept[pairs[:, 0]]]
        leaders[hits[:, 1]] = hits[:, 0]
        undecided &= ~kept
        undecided[hits[:, 1]] = False
        pairs = pairs[undecided[pairs[:, 0]] & undecided[pairs[:, 1]]]
    return leaders
