"""The page that puts encoders side by side: every number has its source, and published ones are
told apart.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

import finished_run
from benchmark_folders import ColourBackbone, write_classification
from dcr.data.benchmark_sets import open_set
from dcr.datasets.published import PublishedTablesDataset
from dcr.errors import UserError
from dcr.evaluation import Embedder
from dcr.evaluation.multiplicity import correct
from dcr.reporting import figures, images
from dcr.reporting.comparison_page import (
    Encoders,
    build_run_rows,
    build_score_rows,
    render_comparison,
)
from dcr.reporting.method_tables import build_alignment_table, build_rival_table, measures_of
from dcr.reporting.names import measure_name
from dcr.reporting.neighbours import show_neighbours
from dcr.reporting.numbers import show_difference
from dcr.reporting.p_against_d import plot_p_against_d
from dcr.reporting.set_bars import plot_sets
from project import PROJECT


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    pairs = open_set(finished_run.write_mmvp(tmp_path_factory.mktemp("mmvp"))).pairs
    outcomes = finished_run.outcomes()
    return Encoders(
        recipe="example",
        methods=finished_run.methods(),
        measures=finished_run.MEASURES,
        confidence=0.95,
        flips={
            name: images.find_flipped_pairs(pairs, outcomes, "base", name, 2)
            for name in finished_run.METHODS
        },
        neighbours=[],
        runs={0: finished_run.scores()},
        this_seed=0,
        failures=[],
        sets=finished_run.sets(),
        published=None,
    )


def render(encoders):
    shown = encoders.methods.without_forms()
    charts = {
        "radar": figures.plot_radar(shown.scores),
        "p_against_d": plot_p_against_d(
            shown.scores, shown.intervals, shown.encoders, ["probes.mean"], ["clustering.acc"]
        ),
        "set_bars": plot_sets(shown.scores, shown.intervals),
    }
    return render_comparison(encoders, charts)


def test_the_page_shows_every_encoder_and_its_flips_offline(encoders):
    page = render(encoders)
    scores = page.split('id="scores"')[1].split('id="alignment"')[0]
    for name in (
        "Base",
        "DCR<br><small>3 seeds</small>",
        "Reconstruction<br><small>2 seeds</small>",
        "Naive sum",
    ):
        assert scores.count(f'<th scope="col">{name}</th>') == 1
    assert "seed 1" not in page
    assert page.count("McNemar's exact test") + page.count("McNemar&#39;s exact test") == 3
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']+""", page.split("<script>")[0]) == []
    ids = re.findall(r'\bid="(\w+)"', page.split("<script>")[0])
    assert len(ids) == len(set(ids))
    assert {"radar", "p_against_d", "set_bars", "sets"} <= set(ids)
    assert "published for" not in page
    assert "no checkpoint was chosen" in page
    assert "One run, with seed 0" in page


def test_a_cell_holds_the_mean_over_seeds_with_its_interval_and_verdict(encoders):
    rows = {
        row["name"]: row for row in build_score_rows(encoders.methods.without_forms(), {}, {}, ())
    }
    base, dcr, _, naive = rows["clustering ACC"]["cells"]
    scores = finished_run.scores()
    value = np.mean([scores[name]["clustering"]["acc"] for name in ("dcr", "dcr@1", "dcr@2")])
    assert (base["change"], dcr["value"]) == ("", f"{100 * value:.1f}")
    assert dcr["change"].endswith("▲ better")
    assert naive["change"].endswith("one seed")
    assert dcr["change_interval"].startswith("+")


def test_verdicts_of_all_encoders_count_where_all_are_shown(encoders):
    methods = encoders.methods.without_forms()
    keys = measures_of(methods.scores)
    shown = {
        name: [comparison for comparison in found if comparison.key in keys]
        for name, found in methods.comparisons.items()
    }
    family = correct(shown, encoders.confidence)
    assert family.num_compared > len(shown["dcr"])
    page = render(encoders)
    assert page.count("survives Holm</small>") == len(family.survivors) > 0
    assert f"{family.num_compared} differences are judged here" in page


def test_the_product_stands_against_its_rivals_on_the_seeds_that_both_have(encoders):
    table = build_rival_table(encoders.methods, encoders.measures)
    assert table["rivals"] == [{"name": "Reconstruction", "seeds": 2}]
    cells = {row["name"]: row["cells"][0] for row in table["rows"]}
    assert list(cells) == [
        measure_name(key) for keys in finished_run.MEASURES.values() for key in keys
    ]
    scores = finished_run.scores()
    both = (("dcr", "reconstruction"), ("dcr@1", "reconstruction@1"))
    expected = np.mean([scores[a]["probes"]["mean"] - scores[b]["probes"]["mean"] for a, b in both])
    assert cells["attribute probes"]["difference"] == show_difference(expected)
    page = render(encoders)
    assert "DCR against its rivals" in page
    assert "DCR against its rivals" not in render(
        replace(encoders, methods=finished_run.methods(rivals=()))
    )
    assert finished_run.methods(rivals=("end_to_end",)).rivals == {}  # it was not trained


def test_every_aligned_encoder_stands_beside_itself_as_trained(encoders):
    table = build_alignment_table(encoders.methods, encoders.measures)
    assert [(group["name"], group["measures"]) for group in table["groups"]] == [
        ("Image features alone", ["attribute probes", "between-class share", "clustering ACC"]),
        ("Images and texts together", ["MMVP-VLM", "zero-shot accuracy"]),
    ]
    assert [encoder["name"] for encoder in table["encoders"]] == ["DCR", "Base"]
    trained, aligned, change = table["encoders"][0]["rows"]
    scores = finished_run.scores()
    before, after = (
        np.mean([scores[f"{name}{seed}"]["zero_shot"]["acc1"] for seed in ("", "@1", "@2")])
        for name in ("dcr_unaligned", "dcr")
    )
    assert (trained["cells"][4]["value"], aligned["cells"][4]["value"]) == (
        f"{100 * before:.1f}",
        f"{100 * after:.1f}",
    )
    assert change["cells"][4] | {"interval": ""} == {
        "value": "",
        "difference": show_difference(after - before),
        "interval": "",
        "verdict": "better",
        "sign": "▲",
    }
    assert [row["name"] for row in table["encoders"][1]["rows"]] == [
        "as it was",
        "aligned",
        "change",
    ]
    page = render(encoders)
    assert page.index('id="alignment"') > page.index('href="#alignment"')
    without = render(replace(encoders, methods=replace(encoders.methods, alignments={})))
    assert 'id="alignment"' not in without


TABLES = PublishedTablesDataset(filepath=str(PROJECT / "conf/base/published.yml")).load()
BACKBONES = [
    name
    for name, encoder in TABLES.encoders.items()
    if encoder.base is None and any(name in table.values for table in TABLES.tables)
]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_published_figures_are_marked_and_stand_in_rows_of_their_own_measure(encoders, backbone):
    columns = TABLES.columns(backbone)
    page = render(replace(encoders, published=columns))
    assert f"<b>published</b> for {columns.name} (arXiv 2603.04803" in page
    assert "<b>not measured here</b>" in page
    rows = {
        row["name"]: row
        for row in build_score_rows(encoders.methods.without_forms(), columns.scores, {}, ())
    }
    stated = dict(zip(columns.scores, rows["MMVP-VLM"]["published"], strict=True))
    assert stated["DCR"] == f"{100 * columns.scores['DCR']['mmvp_vlm.mean']:.1f}"
    assert not any(rows["zero-shot accuracy"]["published"])


def test_whole_runs_are_combined_to_mean_and_spread(encoders):
    values = (0.3, 0.5, 0.7)
    seeds = {seed: {"base": {"zero_shot": {"acc1": value}}} for seed, value in enumerate(values)}
    (row,) = build_run_rows(seeds, ["base"], 0.95)
    assert row["cells"][0]["value"] == "50.0 ± 20.0"
    assert (
        row["cells"][0]["interval"]
        == f"{50 - 4.302653 * 20 / np.sqrt(3):.1f} to {50 + 4.302653 * 20 / np.sqrt(3):.1f}"
    )
    assert build_run_rows({0: encoders.methods.encoders}, ["base"], 0.95) == []
    page = render(replace(encoders, runs=dict.fromkeys((0, 7), encoders.methods.encoders)))
    assert "over 2 runs" in page
    assert "± 0.0" in page


def test_failures_are_told_and_text_is_escaped(encoders):
    failure = {"set": "dtd", "encoder": None, "error": "<script>alert(1)</script>"}
    page = render(replace(encoders, failures=[failure]))
    assert "Not evaluated" in page
    assert "<script>alert(1)" not in page


def test_bars_stand_for_each_set_and_their_mean():
    scores = {
        "base": {
            name: {"acc": value}
            for name, value in (
                ("clustering", 0.5),
                ("clustering/one", 0.4),
                ("clustering/two", 0.6),
            )
        }
    }
    intervals = {
        "base": {
            name: {"acc": [m["acc"] - 0.1, m["acc"] + 0.2]} for name, m in scores["base"].items()
        }
    }
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
