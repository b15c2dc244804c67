"""The rules of caption selection against loops, all permutations and what theory says of chance."""

import math
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import binom

from dcr.metrics.caption_selection import (
    MAX_PAIRS,
    RULES,
    answer_groups,
    clip_benchmark_scores,
    compare_groups,
    selection_scores,
)
from dcr.metrics.guessing import chance_of, rules_of
from dcr.metrics.mmvp import answer_pairs

ONE_TO_ONE = ((0, 0), (1, 1))
SHAPES = {
    "two and two, as Winoground and MMVP-VLM": (2, 2, ONE_TO_ONE),
    "one image and two captions, as SugarCrepe and ARO": (1, 2, ((0, 0),)),
    "one image and four captions, as What'sUp": (1, 4, ((0, 0),)),
    "one image and two right captions of three, as SugarCrepe++": (1, 3, ((0, 0), (0, 1))),
    "three images and one caption": (3, 1, ((1, 0),)),
    "three and three, crossed": (3, 3, ((0, 2), (1, 0), (2, 1))),
    "two images and three captions": (2, 3, ((0, 1), (1, 2))),
    "an image without a caption": (3, 3, ((0, 0), (2, 1))),
    "several captions an image": (2, 4, ((0, 0), (0, 1), (1, 2), (1, 3))),
    "a caption of two images": (3, 2, ((0, 0), (1, 0), (2, 1))),
}
NUM_DRAWS = 20_000


@pytest.fixture(params=SHAPES, name="shape")
def _shape(request):
    return SHAPES[request.param]


def random_similarities(num_images, num_captions, number=NUM_DRAWS, seed=0):
    return np.random.default_rng(seed).normal(size=(number, num_images, num_captions))


def answer_plainly(table, pairing):
    """The rules as they are told, in loops over one group's table of similarities."""
    images, captions = range(len(table)), range(len(table[0]))
    image_score = all(
        table[i][c] > table[other][c]
        for i, c in pairing
        for other in images
        if (other, c) not in pairing
    )
    text_score = all(
        table[i][c] > table[i][other]
        for i, c in pairing
        for other in captions
        if (i, other) not in pairing
    )
    return {
        "image_score": image_score,
        "text_score": text_score,
        "group_score": image_score and text_score,
    }


def match_plainly(table, pairing):
    """Whether the pairing is strictly the best of all assignments of the fewer to the more."""
    num_images, num_captions = table.shape
    if num_images <= num_captions:
        assignments = [
            frozenset(enumerate(order)) for order in permutations(range(num_captions), num_images)
        ]
    else:
        assignments = [
            frozenset((image, caption) for caption, image in enumerate(order))
            for order in permutations(range(num_images), num_captions)
        ]
    sums = {cells: math.fsum(table[cell] for cell in cells) for cells in assignments}
    own = sums.pop(frozenset(pairing))
    return all(own > other for other in sums.values())


def test_answers_equal_plain_loops(shape):
    num_images, num_captions, pairing = shape
    similarities = random_similarities(num_images, num_captions, 500)
    answers = answer_groups(similarities, pairing)
    for group, table in enumerate(similarities):
        plain = answer_plainly(table.tolist(), pairing)
        assert {rule: answers[rule][group] for rule in plain} == plain


def test_winogrounds_definitions_of_its_three_scores():
    for table in random_similarities(2, 2, 200):
        (c0_i0, c1_i0), (c0_i1, c1_i1) = table
        text = c0_i0 > c1_i0 and c1_i1 > c0_i1
        image = c0_i0 > c0_i1 and c1_i1 > c1_i0
        answers = answer_groups(table[None], ONE_TO_ONE)
        assert answers["text_score"] == text
        assert answers["image_score"] == image
        assert answers["group_score"] == (text and image)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("more", [0, 1, 2])
def test_group_match_is_the_best_of_all_permutations(size, more):
    order = np.random.default_rng(size).permutation(size).tolist()
    for shape, pairing in (
        ((size, size + more), tuple(enumerate(order))),
        ((size + more, size), tuple((image, caption) for caption, image in enumerate(order))),
    ):
        similarities = random_similarities(*shape, 60, seed=more)
        right = np.zeros(shape)
        right[tuple(np.transpose(pairing))] = 1.0
        similarities[::2] += 1.5 * right  # so that both answers occur
        answers = answer_groups(similarities, pairing)["group_match"]
        assert answers.tolist() == [match_plainly(table, pairing) for table in similarities]
        assert 0 < answers.sum() < len(answers)


def test_group_match_is_there_only_for_an_assignment_of_all_of_the_fewer():
    assert "group_match" in answer_groups(np.zeros((1, 2, 3)), ((0, 1), (1, 2)))
    for pairing in (((0, 0),), ((0, 0), (0, 1)), ((0, 0), (1, 0))):
        assert "group_match" not in answer_groups(np.zeros((1, 2, 3)), pairing)


def test_group_score_implies_group_match():
    similarities = random_similarities(3, 4)
    answers = answer_groups(similarities, ((0, 0), (1, 1), (2, 3)))
    assert not (answers["group_score"] & ~answers["group_match"]).any()
    assert answers["group_score"].any()


def features_of(shape, right=1.0):
    """Embeddings of a group in which a caption lies between its images, and images of one caption
    are alike.
    """
    num_images, num_captions, pairing = shape
    images = np.zeros((num_images, 16))
    texts = np.zeros((num_captions, 16))
    images[range(num_images), range(num_images)] = 0.1
    for image, caption in pairing:
        texts[caption, image] = right
        images[image, image] = 1.0
    texts[:, 15] = 0.1
    return images[None], texts[None]


def test_a_perfect_encoder_scores_1(shape):
    answers = answer_groups(compare_groups(*features_of(shape)), shape[2])
    assert all(correct.all() for correct in answers.values())


def test_a_constant_encoder_scores_0_by_every_rule_that_asks_something(shape):
    num_images, num_captions, pairing = shape
    features = np.random.default_rng(0).normal(size=24).astype(np.float32)
    images = np.tile(features, (1, num_images, 1))
    texts = np.tile(features, (1, num_captions, 1))
    answers = answer_groups(compare_groups(images, texts), pairing)
    for rule in rules_of(*shape):
        assert not answers[rule].any(), rule


@pytest.mark.parametrize("constant", ["images", "texts"])
def test_one_constant_tower_ties_in_every_assignment(constant):
    generator = np.random.default_rng(1)
    towers = {name: generator.normal(size=(50, 5, 24)) for name in ("images", "texts")}
    towers[constant] = np.ones_like(towers[constant])
    answers = answer_groups(compare_groups(**towers), tuple((i, i) for i in range(5)))
    assert not answers["group_match"].any()
    assert not answers["group_score"].any()


def test_chance_is_what_random_similarities_reach(shape):
    num_images, num_captions, pairing = shape
    answers = answer_groups(random_similarities(num_images, num_captions), pairing)
    chance = chance_of(*shape)
    assert set(chance) == set(answers)
    for rule, correct in answers.items():
        low, high = binom.interval(0.9999, NUM_DRAWS, chance[rule])
        assert low <= correct.sum() <= high, rule


def test_a_random_encoder_reaches_chance():
    generator = np.random.default_rng(2)
    images, texts = generator.normal(size=(2, 4000, 2, 512)).astype(np.float32)
    answers = answer_groups(compare_groups(images, texts), ONE_TO_ONE)
    for rule, chance in chance_of(2, 2, ONE_TO_ONE).items():
        low, high = binom.interval(0.9999, 4000, chance)
        assert low <= answers[rule].sum() <= high, rule


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 2, ONE_TO_ONE), (1 / 4, 1 / 4, 1 / 6, 1 / 2)),
        ((1, 2, ((0, 0),)), (1, 1 / 2, 1 / 2, 1 / 2)),
        ((1, 4, ((0, 0),)), (1, 1 / 4, 1 / 4, 1 / 4)),
        ((1, 3, ((0, 0), (0, 1))), (1, 1 / 3, 1 / 3, None)),
        ((3, 3, tuple((i, i) for i in range(3))), (1 / 27, 1 / 27, 1 / 60, 1 / 6)),
    ],
)
def test_chance_in_closed_form(shape, expected):
    assert [chance_of(*shape).get(rule) for rule in RULES] == pytest.approx(list(expected))


def test_one_to_one_pairings_need_no_counting():
    pairing = tuple((i, i) for i in range(40))
    expected = math.prod(1 / (80 - size) for size in range(1, 41))
    assert chance_of(40, 40, pairing)["group_score"] == pytest.approx(expected)


def test_a_pairing_with_too_many_pairs_is_named():
    pairing = tuple((0, caption) for caption in range(MAX_PAIRS + 1))
    with pytest.raises(ValueError, match=f"may have {MAX_PAIRS} pairs, got {MAX_PAIRS + 1}"):
        chance_of(1, MAX_PAIRS + 2, pairing)


def test_rules_that_leave_nothing_to_choose_are_left_out():
    assert rules_of(2, 2, ONE_TO_ONE) == list(RULES)
    assert rules_of(1, 2, ((0, 0),)) == ["text_score"]
    assert rules_of(2, 1, ((0, 0),)) == ["image_score"]
    assert rules_of(1, 1, ((0, 0),)) == []
    assert rules_of(2, 4, SHAPES["several captions an image"][2]) == list(RULES[:3])


def test_image_score_is_mmvps_rule():
    images, texts = np.random.default_rng(3).normal(size=(2, 500, 2, 16)).astype(np.float32)
    answers = answer_groups(compare_groups(images, texts), ONE_TO_ONE)
    mmvp = answer_pairs(images, texts, 14.3)
    assert not mmvp.ties.any()
    np.testing.assert_array_equal(answers["image_score"], mmvp.correct)


def test_counts_repeat_groups():
    correct = {"text_score": np.array([True, False, True])}
    counts = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0]])
    scores = selection_scores(correct, counts)["text_score"]
    np.testing.assert_allclose(scores, [2 / 3, 1, 0])
    assert selection_scores(correct) == {"text_score": pytest.approx(2 / 3)}


def test_clip_benchmarks_names():
    answers = answer_groups(random_similarities(1, 2, 100), ((0, 0),))
    scores = clip_benchmark_scores(answers)
    assert scores["image_acc"] == 1
    assert scores["acc"] == scores["text_acc"] == answers["text_score"].mean()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"must be \(G, k, d\) and \(G, m, d\)"):
        compare_groups(np.ones((2, 2, 3)), np.ones((3, 2, 3)))
    with pytest.raises(ValueError, match=r"pair \(2, 0\) names no image"):
        answer_groups(np.zeros((1, 2, 2)), ((2, 0),))
    with pytest.raises(ValueError, match="one pair at least"):
        answer_groups(np.zeros((1, 2, 2)), ())
    with pytest.raises(ValueError, match="finite"):
        compare_groups(np.full((1, 2, 3), np.nan), np.ones((1, 2, 3)))
