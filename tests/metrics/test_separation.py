import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score

from dcr.metrics.bootstrap import Bootstrap
from dcr.metrics.separation import between_class_share


def classes_on_a_sphere(num_items: int = 300, spread: float = 0.4, seed: int = 0):
    """Features around five fixed directions, and their labels."""
    centres = np.random.default_rng(99).normal(size=(5, 12))
    generator = np.random.default_rng(seed)
    labels = generator.integers(5, size=num_items)
    return centres[labels] + 12**0.5 * spread * generator.normal(size=(num_items, 12)), labels


def share_of_weights(features, labels, weights):
    """The definition, by loops over items that count ``weights`` times."""
    unit = [row / np.linalg.norm(row) for row in features]
    mean = sum(w * x for w, x in zip(weights, unit, strict=True)) / sum(weights)
    total = sum(w * np.sum((x - mean) ** 2) for w, x in zip(weights, unit, strict=True))
    between = 0.0
    for name in set(labels.tolist()):
        own = [(w, x) for w, x, label in zip(weights, unit, labels, strict=True) if label == name]
        size = sum(w for w, _ in own)
        between += size * np.sum((sum(w * x for w, x in own) / size - mean) ** 2)
    return between / total


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_definition_and_agrees_with_scikit_learns_variance_ratio(seed):
    features, labels = classes_on_a_sphere(120, seed=seed)
    share = between_class_share(features, labels)
    assert share == pytest.approx(share_of_weights(features, labels, np.ones(120)), abs=1e-6)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    ratio = calinski_harabasz_score(unit, labels)  # (between / (C - 1)) / (within / (N - C))
    assert share / (1 - share) == pytest.approx(ratio * 4 / (120 - 5), rel=1e-5)


def test_points_are_1_and_labels_that_mean_nothing_are_near_0():
    labels = np.repeat(np.arange(4), 250)
    assert between_class_share(np.eye(4)[labels], labels) == pytest.approx(1)
    noise = np.random.default_rng(0).normal(size=(1000, 16))
    # This is what chance gives in its mean.
    assert between_class_share(noise, labels) == pytest.approx(3 / 999, abs=2e-3)


def test_the_length_of_features_and_the_names_of_classes_do_not_matter():
    features, labels = classes_on_a_sphere()
    lengths = np.random.default_rng(1).uniform(0.01, 100, size=(len(labels), 1))
    assert between_class_share(features * lengths, labels * 7 - 3) == pytest.approx(
        between_class_share(features, labels), abs=1e-6
    )


def test_an_encoder_that_maps_all_to_one_point_separates_nothing():
    counts = np.ones((3, 6))
    np.testing.assert_array_equal(
        between_class_share(np.full((6, 5), 0.3), [0, 0, 0, 1, 1, 1], counts), np.zeros(3)
    )


def test_resamples_move_it_by_its_derivative_in_each_items_weight():
    features, labels = classes_on_a_sphere(40)
    value = between_class_share(features, labels)
    moved = between_class_share(features, labels, 1 + np.eye(40))
    for item, row in enumerate(np.eye(40) * 1e-4):
        slope = (
            share_of_weights(features, labels, 1 + row)
            - share_of_weights(features, labels, 1 - row)
        ) / 2e-4
        assert moved[item] - value == pytest.approx(slope, abs=1e-6)


def test_95_percent_intervals_hold_what_samples_have_in_their_mean():
    bootstrap = Bootstrap(300, 0.95, 0)
    samples = [classes_on_a_sphere(200, seed=seed) for seed in range(300)]
    mean = np.mean([between_class_share(*sample) for sample in samples])
    covered = 0
    for sample in samples:
        low, high = bootstrap.intervals(
            lambda c, s=sample: {"share": between_class_share(*s, c)}, 200
        )["share"]
        covered += low <= mean <= high
    assert 0.92 <= covered / len(samples) <= 0.98


def test_a_label_for_every_embedding_is_needed():
    with pytest.raises(
        ValueError, match="labels must name a class for each of 3 > 0 embeddings, got 2"
    ):
        between_class_share(np.eye(3), [0, 1])
