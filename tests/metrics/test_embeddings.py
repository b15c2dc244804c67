"""What all metrics need of embeddings: tables of scores are walked in parts, and that changes
nothing.
"""

import numpy as np
import pytest

from dcr.metrics import embeddings
from dcr.metrics.drift import find_neighbours
from dcr.metrics.embeddings import row_parts
from dcr.metrics.geometry import uniformity_scores
from dcr.metrics.retrieval import rank_matches
from dcr.metrics.zero_shot import rank_labels


@pytest.mark.parametrize(
    ("num_rows", "num_columns"), [(1, 1), (1000, 1_000_000), (5, 1 << 30), (70_000, 1000)]
)
def test_parts_hold_every_row_once_and_no_more_scores_than_fit(num_rows, num_columns):
    parts = [range(num_rows)[part] for part in row_parts(num_rows, num_columns)]
    assert [row for part in parts for row in part] == list(range(num_rows))
    assert all(len(part) * num_columns <= 1 << 24 or len(part) == 1 for part in parts)


def test_no_score_depends_on_the_parts(monkeypatch):
    generator = np.random.default_rng(0)
    features, texts = generator.standard_normal((23, 8)), generator.standard_normal((23, 8))
    owner = np.arange(23)

    def scores():
        return [
            find_neighbours(features, 3),
            rank_matches(texts, features, owner, owner),
            rank_labels(features, texts[:5], owner % 5),
            uniformity_scores(features)["uniformity"],
        ]

    whole = scores()
    monkeypatch.setattr(embeddings, "_SCORES", 23 * 4)
    for expected, found in zip(whole, scores(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
