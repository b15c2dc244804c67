"""The page that puts encoders side by side: every number has its source, and published ones are told apart."""

import re
from dataclasses import replace

import numpy as np
import pytest

import finished_run
from benchmark_folders import ColourBackbone, write_classification
from dcr.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.evaluation import Embedder
from dcr.metrics.bootstrap import Bootstrap
from dcr.reporting import figures, images
from dcr.reporting.comparison import compare
from dcr.reporting.comparison_page import Encoders, build_score_rows, build_seed_rows, render_comparison
from dcr.reporting.neighbours import show_neighbours
from dcr.reporting.published import BACKBONES, published_scores
from dcr.reporting.set_bars import plot_sets

ENCODERS = ("dcr", "reconstruction", "naive")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    pairs = open_set(finished_run.write_mmvp(tmp_path_factory.mktemp("mmvp"))).pairs
    scores, intervals, outcomes = finished_run.scores(), finished_run.intervals(), finished_run.outcomes()
    bootstrap = Bootstrap(100, 0.95, 0)
    return Encoders(
        recipe="example",
        base="base",
        confidence=0.95,
        scores=scores,
        intervals=intervals,
        comparisons={name: compare(scores, intervals, outcomes, "base", name, bootstrap) for name in ENCODERS},
        flips={name: images.find_flipped_pairs(pairs, outcomes, "base", name, 2) for name in ENCODERS},
        neighbours=[],
        seeds={0: scores},
        this_seed=0,
        failures=[],
        sets=finished_run.sets(),
        published=None,
    )


def render(encoders):
    charts = {
        "radar": figures.plot_radar(encoders.scores),
        "p_against_d": figures.plot_p_against_d(
            encoders.scores, encoders.intervals, ["mmvp_vlm.mean"], "clustering.acc"
        ),
        "set_bars": plot_sets(encoders.scores, encoders.intervals),
    }
    return render_comparison(encoders, charts)


def test_the_page_shows_every_encoder_and_its_flips_offline(encoders):
    page = render(encoders)
    for name in ("Base", "DCR", "Reconstruction", "Naive sum"):
        assert page.count(f'<th scope="col">{name}</th>') == 1
    assert page.count("McNemar's exact test") + page.count("McNemar&#39;s exact test") == 3
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']+""", page.split("<script>")[0]) == []
    ids = re.findall(r'\bid="(\w+)"', page.split("<script>")[0])
    assert len(ids) == len(set(ids))
    assert {"radar", "p_against_d", "set_bars", "sets"} <= set(ids)
    assert "published for" not in page
    assert "no checkpoint was chosen" in page
    assert "One training, with seed 0" in page


def test_a_cell_holds_value_interval_and_verdict(encoders):
    rows = {row["name"]: row for row in build_score_rows(encoders, {})}
    base, dcr = rows["clustering ACC"]["cells"][:2]
    value = encoders.scores["dcr"]["clustering"]["acc"]
    assert (base["change"], dcr["value"]) == ("", f"{100 * value:.1f}")
    assert dcr["change"].endswith(dcr["verdict"])
    assert dcr["verdict"] in ("better", "worse", "within noise")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_published_figures_are_marked_and_stand_in_rows_of_their_own_measure(encoders, backbone):
    page = render(replace(encoders, published=backbone))
    assert f"<b>published</b> for {backbone}" in page
    assert "<b>not measured here</b>" in page
    rows = {row["name"]: row for row in build_score_rows(encoders, published_scores(backbone))}
    mmvp = [value for value in rows["MMVP-VLM"]["published"] if value]
    assert mmvp[-1] == f"{100 * published_scores(backbone)['DCR']['mmvp_vlm.mean']:.1f}"
    assert not any(rows["zero-shot accuracy"]["published"])


def test_published_figures_are_the_papers():
    openai = published_scores("OpenAI ViT-L/14 224")
    assert openai["original"]["mmvp_vlm.mean"] == pytest.approx(0.192)
    assert openai["DCR"] == pytest.approx(
        {"mmvp_vlm.mean": 0.333, "clustering.nmi": 0.76, "clustering.acc": 0.67, "clustering.ari": 0.54}
    )
    assert "un2CLIP" not in published_scores("SigLIP SO400M 224")


def test_seeds_are_combined_to_mean_and_spread(encoders):
    values = (0.3, 0.5, 0.7)
    seeds = {seed: {"base": {"zero_shot": {"acc1": value}}} for seed, value in enumerate(values)}
    (row,) = build_seed_rows(seeds, 0.95)
    assert row["cells"][0]["value"] == "50.0 ± 20.0"
    assert (
        row["cells"][0]["interval"] == f"{50 - 4.302653 * 20 / np.sqrt(3):.1f} to {50 + 4.302653 * 20 / np.sqrt(3):.1f}"
    )
    assert build_seed_rows({0: encoders.scores}, 0.95) == []
    page = render(replace(encoders, seeds={0: encoders.scores, 7: encoders.scores}))
    assert "over 2 trainings" in page
    assert "± 0.0" in page


def test_failures_are_told_and_text_is_escaped(encoders):
    failure = {"set": "dtd", "encoder": None, "error": "<script>alert(1)</script>"}
    page = render(replace(encoders, failures=[failure]))
    assert "Not evaluated" in page
    assert "<script>alert(1)" not in page


def test_bars_stand_for_each_set_and_their_mean():
    scores = {"base": {name: {"acc": value} for name, value in
                       (("clustering", 0.5), ("clustering/one", 0.4), ("clustering/two", 0.6))}}  # fmt: skip
    intervals = {"base": {name: {"acc": [m["acc"] - 0.1, m["acc"] + 0.2]} for name, m in scores["base"].items()}}
    scores["base"]["text_alignment"] = {"paired_cosine": 0.3}
    (bars,) = plot_sets(scores, intervals).data
    assert (list(bars.x), list(bars.y)) == (["mean", "one", "two"], [50, 40, 60])
    assert list(bars.error_y.array) == pytest.approx([20] * 3)
    assert list(bars.error_y.arrayminus) == pytest.approx([10] * 3)


def test_neighbours_are_the_nearest_images_of_each_encoder(tmp_path):
    dataset = open_set(write_classification(tmp_path / "colours"))
    embedders = {"base": Embedder(ColourBackbone(), 8)}
    (row,) = show_neighbours(dataset, embedders, ["s0000004"], 5)
    assert row["label"] == "purple"
    assert [near["same"] for near in row["encoders"]["base"]] == [True] * 5
    assert all(near["image"].startswith("data:image/png") and near["image"] != row["image"]
               for near in row["encoders"]["base"])  # fmt: skip
    with pytest.raises(UserError, match=r"colours has no test image 'x'; one is 's0000000'"):
        show_neighbours(dataset, embedders, ["x"], 5)
    assert show_neighbours(dataset, {}, [], 5) == []
