"""What guessing gives by each rule of caption selection, exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

import numpy as np

from dcr.metrics.caption_selection import MAX_PAIRS, RULES, Pairing, is_assignment, right_cells


@lru_cache(maxsize=256)
def chance_of(num_images: int, num_captions: int, pairing: Pairing) -> Mapping[str, float]:
    """Return what guessing gives by rule: the probability that a group is answered right.

    All orders of its similarities are equally likely.

    A row of one right and n - 1 wrong cells is answered with probability 1 / n; with r right ones
    of n, 1 / C(n, r). Rows are independent of each other, and so are columns, but rows and columns
    are not: see `_chance_of_both`. An assignment of all of the fewer, s of l, is one of
    l! / (l - s)!. Two images and two captions give 1/4, 1/4, 1/6 and 1/2.

    Args:
        num_images, num_captions: k and m.
        pairing: which belong together.

    Raises:
        ValueError: the pairing is not one to one and has more than `MAX_PAIRS` pairs.
    """
    right = right_cells(num_images, num_captions, pairing)
    chance = {
        "image_score": float(_chance_of_rows(right.T)),
        "text_score": float(_chance_of_rows(right)),
        "group_score": float(_chance_of_both(right)),
    }
    if is_assignment(right):
        chance["group_match"] = 1 / math.perm(max(right.shape), min(right.shape))
    return chance


def _chance_of_rows(right: np.ndarray) -> Fraction:
    wanted = right.sum(axis=1)
    return math.prod(
        (Fraction(1, math.comb(right.shape[1], int(number))) for number in wanted if number),
        start=Fraction(1),
    )


def _chance_of_both(right: np.ndarray) -> Fraction:
    """Return the probability that every right cell is above all wrong ones in its row and column.

    Take the right cells from the lowest up. The wrong cells below a set S of them are N(S), those
    in its rows and columns. If S is a lower part of the right cells, then its highest one must be
    the highest of |S| + |N(S)| cells, so that the probability is

        f(S) = sum over r in S of f(S without r) / (|S| + |N(S)|),    f of nothing = 1.

    One to one, |N(S)| depends on s = |S| alone: s (k + m - s) - s, so that f is the product of
    1 / (k + m - s) over s = 1 ... number of pairs.
    """
    images, captions = np.nonzero(right)
    number = len(images)
    if len(set(images)) == len(set(captions)) == number:
        return math.prod(
            (Fraction(1, sum(right.shape) - size) for size in range(1, number + 1)),
            start=Fraction(1),
        )
    if number > MAX_PAIRS:
        raise ValueError(
            f"a group whose pairing is not one to one may have {MAX_PAIRS} pairs, got {number}"
        )
    reach = [
        {(int(i), int(c)) for i, c in np.argwhere(~right) if i == image or c == caption}
        for image, caption in zip(images, captions, strict=True)
    ]
    chance = {frozenset[int](): Fraction(1)}
    for size in range(1, number + 1):
        for lower in map(frozenset, combinations(range(number), size)):
            below = set[tuple[int, int]]().union(*(reach[cell] for cell in lower))
            chance[lower] = sum((chance[lower - {cell}] for cell in lower), start=Fraction(0)) / (
                size + len(below)
            )
    return chance[frozenset(range(number))]


def rules_of(num_images: int, num_captions: int, pairing: Pairing) -> list[str]:
    """Return those of `RULES` that ask something of a group.

    image_score needs a caption with a wrong image beside it, text_score an image with a wrong
    caption, and the others need both.

    Args:
        num_images, num_captions: k and m.
        pairing: which belong together.
    """
    chance = chance_of(num_images, num_captions, pairing)
    rules = [rule for rule in ("image_score", "text_score") if chance[rule] < 1]
    if len(rules) < 2:
        return rules
    return [rule for rule in RULES if rule in chance]
