"""Detail over class separation: means over seeds with their intervals, and every seed as a
faint point.
"""

import pytest

import finished_run
from dcr.reporting.p_against_d import plot_p_against_d

DETAIL, SEPARATION = ["probes.mean", "mmvp_vlm.mean"], ["clustering.acc", "clustering.nmi"]


@pytest.fixture(scope="module")
def methods():
    return finished_run.methods().without_forms()


@pytest.fixture(scope="module")
def figure(methods):
    return plot_p_against_d(methods.scores, methods.intervals, methods.encoders, DETAIL, SEPARATION)


def test_each_pair_of_measures_has_a_panel_with_the_mean_of_every_method(figure, methods):
    points = [trace for trace in figure.data if trace.name == "DCR"]
    own = methods.scores["dcr"]
    assert [(p.x[0], p.y[0]) for p in points] == [
        (pytest.approx(100 * own["clustering"][d]), pytest.approx(100 * own[p]["mean"]))
        for p in ("probes", "mmvp_vlm")
        for d in ("acc", "nmi")
    ]
    assert {trace.name for trace in figure.data if trace.name} == {
        "Base",
        "DCR",
        "Reconstruction",
        "Naive sum",
    }


def test_bars_are_the_intervals_over_seeds_and_items(figure, methods):
    point = next(trace for trace in figure.data if trace.name == "DCR")
    low, high = methods.intervals["dcr"]["clustering"]["acc"]
    assert point.x[0] - point.error_x.arrayminus[0] == pytest.approx(low * 100)
    assert point.x[0] + point.error_x.array[0] == pytest.approx(high * 100)


def test_every_seed_is_a_faint_point_where_there_are_several(figure):
    scores = finished_run.scores()
    faint = [trace for trace in figure.data if trace.marker.opacity]
    assert {trace.legendgroup: len(trace.x) for trace in faint} == {"dcr": 3, "reconstruction": 2}
    first = next(trace for trace in faint if trace.legendgroup == "dcr")
    expected = [100 * scores[name]["probes"]["mean"] for name in ("dcr", "dcr@1", "dcr@2")]
    assert list(first.y) == pytest.approx(expected)


def test_a_line_leads_from_the_base_to_each_method(figure, methods):
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    start = (
        100 * methods.scores["base"]["clustering"]["acc"],
        100 * methods.scores["base"]["probes"]["mean"],
    )
    assert len(lines) == 3 * 4
    assert [(line.x[0], line.y[0]) for line in lines[:3]] == [start] * 3


def test_a_measure_that_was_not_evaluated_gets_no_panel():
    scores = {"base": {"clustering": {"acc": 0.5}, "mmvp_vlm": {"mean": 0.3}}}
    intervals = {"base": {"clustering": {"acc": [0.4, 0.6]}, "mmvp_vlm": {"mean": [0.2, 0.4]}}}
    figure = plot_p_against_d(scores, intervals, scores, DETAIL, SEPARATION)
    assert len(figure.data) == 1
    assert figure.layout.yaxis.title.text == "P: MMVP-VLM (%)"
    assert plot_p_against_d({"base": {}}, {"base": {}}, {"base": {}}, DETAIL, SEPARATION).data == ()
