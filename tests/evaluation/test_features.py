"""What became of the features: on every kind of set, against plain loops and known answers."""

import numpy as np
import pytest

from benchmark_folders import ColourBackbone, write_classification, write_mmvp, write_retrieval
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.evaluation import NamedSet, embed_images, embed_texts, evaluate_encoders
from dcr.evaluation.features import measure_drift
from dcr.evaluation.results import Items
from dcr.evaluation.tables import scores_table
from evaluation_options import quick_options

WRITERS = {
    "mmvp_vlm": write_mmvp,
    "classification": write_classification,
    "retrieval": write_retrieval,
}
DRIFT = {
    "mmvp_vlm": "mmvp_drift",
    "classification": "feature_drift",
    "retrieval": "retrieval_drift",
}
OPTIONS = quick_options(compare_features=True, num_compared_neighbours=3)


class Turned(ColourBackbone):
    """The same features with their axes in another order, which no distance and no angle can
    tell.
    """

    def encode_image(self, pixels):
        return super().encode_image(pixels).roll(1, dims=1)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return {kind: open_set(write(folder / kind)) for kind, write in WRITERS.items()}


def evaluate(sets, **encoders):
    named = [NamedSet(kind, kind, lambda opened=opened: opened) for kind, opened in sets.items()]
    loaders = {name: lambda encoder=encoder: encoder for name, encoder in encoders.items()}
    evaluations, failures = evaluate_encoders(loaders, named, OPTIONS)
    assert failures == []
    return evaluations


def test_every_kind_of_set_tells_the_drift_of_all_encoders_but_the_first(sets):
    scores = scores_table(
        evaluate(sets, base=ColourBackbone(), same=ColourBackbone(), turned=Turned())
    )
    for benchmark in DRIFT.values():
        assert benchmark not in scores["base"]
        for encoder in ("same", "turned"):
            assert scores[encoder][benchmark] == pytest.approx({"cka": 1, "neighbour_overlap@3": 1})


def test_turned_features_move_away_from_the_texts(sets):
    scores = scores_table(evaluate(sets, base=ColourBackbone(), turned=Turned()))
    for benchmark in ("mmvp_alignment", "text_alignment"):
        assert (
            scores["turned"][benchmark]["paired_cosine"]
            < scores["base"][benchmark]["paired_cosine"] - 0.2
        )


def test_mmvps_alignment_is_that_of_each_image_with_its_own_statement(sets):
    """By a loop over the pairs; the interval by drawing whole pairs."""
    mmvp, backbone = sets["mmvp_vlm"], ColourBackbone()
    images = embed_images(backbone, [sample.image for sample in mmvp.samples()], 8).astype(
        np.float64
    )
    texts = embed_texts(backbone, [text for pair in mmvp.pairs for text in pair.texts], 8).astype(
        np.float64
    )
    images, texts = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts))

    def of_pairs(pairs):
        rows = [row for pair in pairs for row in (2 * pair, 2 * pair + 1)]
        cosines = [float(images[row] @ texts[row]) for row in rows]
        return np.mean(cosines), np.linalg.norm(
            images[rows].mean(axis=0) - texts[rows].mean(axis=0)
        )

    result = next(
        r for r in evaluate(sets, base=backbone)["base"] if r.benchmark == "mmvp_alignment"
    )
    assert list(result.scores.values()) == pytest.approx(of_pairs(range(len(mmvp.pairs))), abs=1e-6)
    draws = [
        counts for chunk in OPTIONS.bootstrap.draw(len(mmvp.pairs)) for counts in chunk.astype(int)
    ]
    values = np.array([of_pairs(np.repeat(np.arange(len(counts)), counts)) for counts in draws])
    for metric, column in zip(("paired_cosine", "modality_gap"), values.T, strict=True):
        assert result.intervals[metric] == pytest.approx(
            np.quantile(column, [0.025, 0.975]), abs=1e-6
        )


def test_pairs_are_drawn_whole():
    """Pairs of two equal images: counted one by one they would seem to know twice as much."""
    generator = np.random.default_rng(0)
    before, after = (np.repeat(generator.normal(size=(20, 4)), 2, axis=0) for _ in range(2))
    items = [
        Items("image", [str(i) for i in range(40)]),
        Items("pair", [str(i) for i in range(20)]),
    ]
    single, pairs = (
        measure_drift("drift", "set", before, after, drawn, OPTIONS) for drawn in items
    )
    widths = [np.diff(result.intervals["cka"])[0] for result in (single, pairs)]
    assert single.scores == pytest.approx(pairs.scores)
    assert widths[1] > 1.2 * widths[0]


def test_one_image_is_too_few():
    with pytest.raises(
        UserError, match="set has one image, but features are compared on 2 or more"
    ):
        measure_drift(
            "drift", "set", np.ones((1, 3)), np.ones((1, 3)), Items("image", ["a"]), OPTIONS
        )
