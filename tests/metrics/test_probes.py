from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from dcr.export.card import model_card
from dcr.metrics.probes import predict_linear, predict_neighbours, probe_scores
from dcr.reporting.names import EXPLANATIONS


def example(seed: int, num_items: int = 200):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(num_items, 6)) * np.array([1, 10, 0.1, 5, 1, 1]) + 3
    labels = (
        features @ np.array([1, 0.2, 5, 0, 0, 0]) + generator.normal(size=num_items) > 18.6
    ).astype(int)
    return features.astype(np.float32), labels


def test_the_linear_probe_equals_a_direct_minimisation():
    (train, labels), (test, _) = example(0), example(1)
    mean, std = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    x, sign = (train - mean) / std, 2 * labels - 1

    def penalised_loss(weights):
        return (
            np.logaddexp(0, -sign * (x @ weights[:-1] + weights[-1])).sum()
            + 0.5 * weights[:-1] @ weights[:-1]
        )

    best = minimize(penalised_loss, np.zeros(7), tol=1e-10).x
    expected = ((test - mean) / std @ best[:-1] + best[-1] > 0).astype(int)
    assert np.mean(predict_linear(train, labels, test) == expected) >= 0.995


def test_features_that_name_the_label_are_read_perfectly():
    labels = np.arange(90) % 3
    assert (predict_linear(np.eye(3)[labels], labels, np.eye(3)) == [0, 1, 2]).all()


def test_a_constant_encoder_predicts_the_commonest_label():
    labels = np.array(["sun"] * 7 + ["none"] * 3)
    assert set(predict_linear(np.ones((10, 4)), labels, np.ones((5, 4)))) == {"sun"}


def test_neighbours_vote_by_cosine_as_in_a_loop():
    (train, labels), (test, _) = example(0), example(1)
    unit = train / np.linalg.norm(train, axis=1, keepdims=True)
    expected = []
    for query in test:
        nearest = np.argsort(-(unit @ query), kind="stable")[:7]
        expected.append(int(labels[nearest].mean() > 0.5))
    assert np.mean(predict_neighbours(train, labels, test, 7) == expected) >= 0.99


def test_scores_are_means_by_attribute_and_over_attributes():
    correct = {"colour": np.array([1, 1, 0, 1]), "count": np.array([0, 0, 1, 0])}
    assert probe_scores(correct) == {"mean": 0.5, "colour": 0.75, "count": 0.25}
    assert probe_scores(correct, np.array([0, 0, 4, 0])) == {
        "mean": 0.5,
        "colour": 0.0,
        "count": 1.0,
    }


def test_one_label_alone_cannot_be_probed():
    with pytest.raises(ValueError, match="at least 2 different labels"):
        predict_linear(np.eye(3), np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match=r"num_neighbours must lie in \[1, 3"):
        predict_neighbours(np.eye(3), np.arange(3), np.eye(3), 4)


def test_that_probes_standardise_is_told_where_their_numbers_stand():
    conf = (Path(__file__).parents[2] / "conf" / "base" / "parameters_evaluation.yml").read_text(
        encoding="utf-8"
    )
    assert "standardised" in conf.split("probe_inverse_regularization")[0]
    assert "standardise" in EXPLANATIONS["probes"]
    assert "standardise" in EXPLANATIONS["linear_probe"]
    scores = {"base": {"linear_probe": {"lp_acc1": 0.5}}}
    card = {"base_model": "b", "recipe": "r", "method": "dcr", "licence": "mit", "scores": scores}
    assert "Linear probes standardise the features." in model_card(card, {})
