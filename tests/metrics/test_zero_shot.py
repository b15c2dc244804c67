import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score

from dcr.metrics.zero_shot import build_classifier, rank_labels, zero_shot_scores


def example(num_images: int = 400, num_classes: int = 12, noise: float = 1.5):
    generator = np.random.default_rng(0)
    texts = generator.normal(size=(num_classes, 3, 16)).astype(np.float32)
    labels = generator.integers(num_classes, size=num_images)
    images = texts.mean(axis=1)[labels] + noise * generator.normal(size=(num_images, 16)).astype(
        np.float32
    )
    return images, texts, labels


def test_scores_agree_with_scikit_learn():
    images, texts, labels = example()
    classifier = build_classifier(texts)
    scores = zero_shot_scores(rank_labels(images, classifier, labels), labels)
    logits = images / np.linalg.norm(images, axis=1, keepdims=True) @ classifier.T
    predicted = logits.argmax(axis=1)
    assert 0.2 < scores["acc1"] < 0.9
    assert scores["acc1"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-12)
    assert scores["acc5"] == pytest.approx(
        top_k_accuracy_score(labels, logits, k=5, labels=range(12)), abs=1e-12
    )
    assert scores["mean_per_class_recall"] == pytest.approx(
        balanced_accuracy_score(labels, predicted), abs=1e-12
    )


def test_the_classifier_is_the_unit_mean_of_unit_texts():
    _, texts, _ = example()
    for weights, prompts in zip(build_classifier(texts), texts, strict=True):
        mean = sum(prompt / np.sqrt((prompt**2).sum()) for prompt in prompts) / 3
        np.testing.assert_allclose(weights, mean / np.sqrt((mean**2).sum()), atol=1e-6)


def test_a_constant_encoder_scores_0():
    images, texts, labels = example()
    ranks = rank_labels(images, build_classifier(np.ones_like(texts)), labels)
    assert set(zero_shot_scores(ranks, labels).values()) == {0.0}


def test_classes_that_do_not_occur_do_not_count():
    scores = zero_shot_scores(np.array([0, 0, 7]), np.array([2, 2, 9]))
    assert scores == {
        "acc1": pytest.approx(2 / 3),
        "acc5": pytest.approx(2 / 3),
        "mean_per_class_recall": 0.5,
    }


def test_counts_equal_repeated_items():
    generator = np.random.default_rng(0)
    ranks, labels = generator.integers(3, size=50), generator.integers(4, size=50)
    counts = generator.integers(0, 3, size=50)
    scores, repeated = zero_shot_scores(ranks, labels, counts), np.repeat(np.arange(50), counts)
    assert scores == pytest.approx(zero_shot_scores(ranks[repeated], labels[repeated]))
