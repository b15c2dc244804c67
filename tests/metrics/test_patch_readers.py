"""Readers of patch tokens, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from dcr.metrics.patch_readers import fit_linear, vote_neighbours

CLASSES = 3


@pytest.fixture(scope="module")
def patches():
    """Tokens whose classes overlap, and shares: pure, mixed, and of patches half ignored."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, 300)
    tokens = generator.normal(labels[:, None] * [1.0, -0.5, 0.2, 0, 0], 1, (300, 5))
    tokens = (tokens * [1, 20, 0.1, 3, 1] + [0, 100, 0, -2, 5]).astype(np.float32)
    shares = np.eye(CLASSES, dtype=np.float32)[labels]
    shares[::3] = 0.5 * shares[::3] + 0.25 * np.eye(CLASSES)[(labels[::3] + 1) % CLASSES]
    return tokens, shares


def test_the_linear_reader_is_scikit_learns_on_pixels(patches):
    tokens, shares = patches
    fitted = fit_linear(tokens, shares, 0.7, 1000)
    scaler = StandardScaler().fit(tokens.astype(np.float64))
    rows, labels = np.nonzero(shares)  # a row of each patch for each class that it shows
    reference = LogisticRegression(C=0.7, tol=1e-8, max_iter=5000).fit(
        scaler.transform(tokens[rows]), labels, sample_weight=shares[rows, labels]
    )
    logits = tokens @ fitted.weight + fitted.bias
    found = np.exp(logits - logits.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    wanted = reference.predict_proba(scaler.transform(tokens))
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_a_column_that_never_changes_says_nothing(patches):
    tokens, shares = patches
    with_constant = np.column_stack([tokens, np.full(len(tokens), 7.0, np.float32)])
    fitted = fit_linear(with_constant, shares, 1.0, 200)
    assert np.abs(fitted.weight[-1]).max() == 0
    np.testing.assert_allclose(fitted.weight[:-1], fit_linear(tokens, shares, 1.0, 200).weight)


def test_rows_are_read_in_blocks_to_the_same_optimum(patches, monkeypatch):
    whole = fit_linear(*patches, 1.0, 200)
    monkeypatch.setattr("dcr.metrics.patch_readers._ROWS", 7)
    np.testing.assert_allclose(fit_linear(*patches, 1.0, 200).weight, whole.weight, atol=1e-4)


def test_one_class_alone_is_what_the_linear_reader_says():
    tokens = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    fitted = fit_linear(tokens, np.tile(np.float32([0, 1, 0]), (20, 1)), 1.0, 100)
    assert (np.argmax(tokens @ fitted.weight + fitted.bias, axis=1) == 1).all()


@pytest.mark.parametrize("rows_at_once", [1, 10**6])
def test_votes_are_those_of_scikit_learns_weighted_neighbours(patches, monkeypatch, rows_at_once):
    tokens, shares = patches
    monkeypatch.setattr("dcr.metrics.patch_readers._ELEMENTS", rows_at_once * 200)
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    found = vote_neighbours(
        torch.from_numpy(tokens[200:]), torch.from_numpy(unit[:200]),
        torch.from_numpy(shares[:200]), 9, 0.1,
    )  # fmt: skip

    def weights(distances):
        return np.exp((1 - distances) / 0.1)

    reference = KNeighborsRegressor(9, weights=weights, metric="cosine", algorithm="brute")
    reference.fit(unit[:200].astype(np.float64), shares[:200])
    np.testing.assert_allclose(found, reference.predict(unit[200:].astype(np.float64)), atol=1e-4)


def test_one_neighbour_hands_on_its_classes(patches):
    tokens, shares = map(torch.from_numpy, patches)
    unit = torch.nn.functional.normalize(tokens, dim=1)
    torch.testing.assert_close(vote_neighbours(3 * tokens, unit, shares, 1, 0.02), shares)


@pytest.mark.parametrize("number", [0, 301])
def test_neighbours_that_are_not_there_are_refused(patches, number):
    tokens, shares = map(torch.from_numpy, patches)
    with pytest.raises(ValueError, match=r"\[1, 300 patches\]"):
        vote_neighbours(tokens, tokens, shares, number, 0.02)
