import math

import numpy as np
import pytest
from scipy.stats import binom

from dcr.metrics.mmvp import answer_pairs, mmvp_scores

TYPES = [f"type {index % 9}" for index in range(135)]


def random_embeddings(num_pairs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return tuple(generator.normal(size=(2, num_pairs, 2, 16)).astype(np.float32))


def choose_plainly(images, texts, scale):
    """The rule with nothing but Python floats: which pairs are right, and what each text gives
    to image 1.
    """

    def unit(vector):
        norm = math.sqrt(sum(float(x) ** 2 for x in vector))
        return [float(x) / norm for x in vector]

    correct, probabilities = [], []
    for pair_images, pair_texts in zip(images, texts, strict=True):
        row = []
        for text in pair_texts:
            logits = [
                scale * sum(a * b for a, b in zip(unit(text), unit(image), strict=True))
                for image in pair_images
            ]
            weights = [math.exp(logit - max(logits)) for logit in logits]
            row.append(weights[0] / sum(weights))
        probabilities.append(row)
        correct.append(row[0] > 0.5 and row[1] < 0.5)
    return correct, probabilities


def test_answers_equal_a_plain_loop():
    images, texts = random_embeddings(135)
    answers = answer_pairs(images, texts, 14.3)
    correct, probabilities = choose_plainly(images, texts, 14.3)
    assert answers.correct.tolist() == correct
    np.testing.assert_allclose(answers.probabilities, probabilities, rtol=0, atol=1e-6)
    assert answers.probabilities.dtype == np.float32


def test_a_perfect_encoder_scores_1():
    images, _ = random_embeddings(135)
    scores = mmvp_scores(answer_pairs(images, 3 * images, 100.0).correct, TYPES)
    assert list(scores) == ["mean", *TYPES[:9]]
    assert set(scores.values()) == {1.0}


def test_a_random_encoder_scores_a_quarter():
    answers = answer_pairs(*random_embeddings(20_000), 100.0)
    low, high = binom.interval(0.999, 20_000, 0.25)
    assert low <= answers.correct.sum() <= high
    assert not answers.ties.any()


def test_a_constant_encoder_scores_0_and_every_pair_is_reported_as_a_tie():
    _, texts = random_embeddings(135)
    answers = answer_pairs(np.ones_like(texts), texts, 100.0)
    assert mmvp_scores(answers.correct, TYPES)["mean"] == 0
    assert answers.ties.all()


def test_a_pair_right_for_one_text_and_tied_for_the_other_is_wrong():
    images = np.array([[[1, 0], [0, 1]]], dtype=np.float32)
    texts = np.array([[[1, 0], [1, 1]]], dtype=np.float32)
    answers = answer_pairs(images, texts, 10.0)
    assert not answers.correct[0]
    assert answers.ties[0]


def test_the_mean_weighs_types_alike():
    scores = mmvp_scores(np.array([True, False, False, False]), ["a", "b", "b", "b"])
    assert scores == {"mean": 0.5, "a": 1.0, "b": 0.0}


def test_counts_repeat_pairs():
    correct, counts = np.array([True, False, True]), np.array([[1, 1, 1], [2, 0, 1], [0, 2, 1]])
    scores = mmvp_scores(correct, ["a", "a", "b"], counts)
    np.testing.assert_allclose(scores["a"], [0.5, 1, 0])
    np.testing.assert_allclose(scores["mean"], [0.75, 1, 0.5])


def test_bad_arguments_are_named():
    images, texts = random_embeddings(3)
    with pytest.raises(ValueError, match=r"one shape \(P, 2, d\)"):
        answer_pairs(images[:2], texts, 1.0)
    with pytest.raises(ValueError, match="logit_scale must be > 0"):
        answer_pairs(images, texts, 0.0)
    with pytest.raises(ValueError, match="finite"):
        answer_pairs(images * np.nan, texts, 1.0)
