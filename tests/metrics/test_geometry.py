"""Likeness of classes, alignment and uniformity against loops and closed forms."""

import numpy as np
import pytest

from dcr.metrics.bootstrap import Bootstrap
from dcr.metrics.geometry import alignment_of_pairs, similarity_scores, uniformity_scores


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(40, 6)) + 0.7


LABELS = np.random.default_rng(1).integers(0, 4, 40)


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_similarity_is_the_mean_cosine_over_pairs(features):
    cosines, same = unit(features) @ unit(features).T, LABELS[:, None] == LABELS
    other = ~np.eye(40, dtype=bool)
    scores = similarity_scores(features, LABELS)
    assert scores["inner_class"] == pytest.approx(cosines[same & other].mean(), abs=1e-6)
    assert scores["inter_class"] == pytest.approx(cosines[~same].mean(), abs=1e-6)


def test_similarity_of_known_layouts():
    orthogonal = np.repeat(np.eye(3), 2, axis=0)
    assert similarity_scores(orthogonal, np.arange(6) // 2) == pytest.approx(
        {"inner_class": 1.0, "inter_class": 0.0}
    )
    constant = similarity_scores(np.ones((6, 3)), np.arange(6) // 2)
    assert constant == pytest.approx({"inner_class": 1.0, "inter_class": 1.0})


def test_without_pairs_of_a_kind_there_is_no_similarity(features):
    assert np.isnan(similarity_scores(features, np.zeros(40))["inter_class"])
    assert (
        np.isnan(
            similarity_scores(features, np.arange(40), np.ones((3, 40)))["inner_class"]
        ).tolist()
        == [True] * 3
    )


def test_uniformity_is_wang_and_isolas(features):
    x = unit(features)
    squared = [np.sum((x[i] - x[j]) ** 2) for i in range(40) for j in range(i)]
    expected = np.log(np.mean(np.exp(-2 * np.array(squared))))
    assert uniformity_scores(features)["uniformity"] == pytest.approx(expected, abs=1e-6)


def test_uniformity_of_known_layouts():
    assert uniformity_scores(np.ones((9, 4)))["uniformity"] == pytest.approx(0, abs=1e-6)
    # All squared distances are 2.
    assert uniformity_scores(np.eye(5))["uniformity"] == pytest.approx(-4)
    with pytest.raises(ValueError, match="at least 2 embeddings, got 1"):
        uniformity_scores(np.ones((1, 4)))


def test_alignment_is_wang_and_isolas(features):
    owner = np.repeat(np.arange(40), [1, 2, 3, 2] * 10)
    texts = np.random.default_rng(2).normal(size=(len(owner), 6))
    expected = np.mean(
        [np.sum((unit(features)[i] - unit(texts)[k]) ** 2) for k, i in enumerate(owner)]
    )
    assert alignment_of_pairs(features, texts, owner)["alignment"] == pytest.approx(
        expected, abs=1e-6
    )
    assert alignment_of_pairs(features, features, np.arange(40))["alignment"] == pytest.approx(
        0, abs=1e-10
    )


@pytest.mark.parametrize(
    "scores",
    [lambda x, c=None: similarity_scores(x, LABELS, c), uniformity_scores],
    ids=["similarity", "uniformity"],
)
def test_influences_are_the_derivatives_in_an_items_count(features, scores):
    """An item that counts 1 + 2h against 1 - 2h changes what is recomputed with doubled items
    accordingly.
    """
    step = 1e-6
    weighted = {"similarity": _weighted_similarity, "uniformity": _weighted_uniformity}
    exact = weighted["uniformity" if scores is uniformity_scores else "similarity"]
    for item in (0, 7, 21):
        counts = np.ones((2, 40))
        counts[:, item] += [step, -step]
        for name, values in scores(features, counts).items():
            high, low = (exact(features, row)[name] for row in counts)
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(
                (high - low) / (2 * step), rel=1e-4, abs=1e-7
            )


def _weighted_mean_over(values, weights, mask):
    pairs = np.outer(weights, weights) * mask * ~np.eye(len(weights), dtype=bool)
    return (pairs * values).sum() / pairs.sum()


def _weighted_similarity(features, weights):
    cosines, same = unit(features) @ unit(features).T, LABELS[:, None] == LABELS
    return {
        "inner_class": _weighted_mean_over(cosines, weights, same),
        "inter_class": _weighted_mean_over(cosines, weights, ~same),
    }


def _weighted_uniformity(features, weights):
    cosines = unit(features) @ unit(features).T
    kernel = np.exp(-2 * (2 - 2 * cosines))
    return {"uniformity": np.log(_weighted_mean_over(kernel, weights, np.ones((40, 40), bool)))}


def test_intervals_are_as_wide_as_over_new_draws_of_items():
    """The bootstrap interval of one sample against the spread over many samples of the same
    kind.
    """
    draws = [np.random.default_rng(seed).normal(size=(200, 3)) + 1 for seed in range(200)]
    labels = np.arange(200) % 2
    spread = np.std([similarity_scores(x, labels)["inner_class"] for x in draws])
    bootstrap = Bootstrap(num_resamples=500, confidence=0.95, seed=0)
    low, high = bootstrap.intervals(
        lambda counts: similarity_scores(draws[0], labels, counts), 200
    )["inner_class"]
    assert (high - low) / (2 * 1.96) == pytest.approx(spread, rel=0.25)
