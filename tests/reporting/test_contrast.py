"""The contrast's diagnostics as curves: those that were measured, of the runs that measured
them.
"""

import pandas as pd

import finished_run
from dcr.reporting.contrast import PANELS, SOURCE_PANELS, plot_contrast
from dcr.reporting.loss_curves import plot_losses
from dcr.training.source_columns import source_column


def titles(figure):
    return [annotation.text for annotation in figure.layout.annotations]


def test_every_measure_has_a_panel_with_the_runs_that_have_it():
    losses = finished_run.losses()
    figure = plot_contrast(losses, window=1)
    assert titles(figure) == list(PANELS.values())
    assert [trace.name for trace in figure.data] == ["DCR", "Naive sum"] * 2 + ["DCR"] * 2 + [
        "DCR",
        "Naive sum",
    ]
    assert list(figure.data[0].y) == losses["dcr"]["alignment"].tolist()


def test_a_run_is_named_once_in_the_legend():
    shown = [
        trace.name
        for trace in plot_contrast(finished_run.losses(), window=1).data
        if trace.showlegend
    ]
    assert shown == ["DCR", "Naive sum"]


def test_what_was_measured_now_and_then_is_drawn_where_it_was():
    sparse = plot_contrast(finished_run.losses(), window=9).data[-1]
    assert list(sparse.x) == [50, 100]
    assert list(sparse.y) == [-0.2, -0.2]
    assert sparse.mode == "lines+markers"


def test_the_line_over_every_step_is_the_rolling_median():
    frame = pd.DataFrame({"step": [1, 2, 3], "alignment": [1.0, 9.0, 2.0]})
    assert list(plot_contrast({"dcr": frame}, window=3).data[0].y) == [5.0, 2.0, 5.5]


def test_without_diagnostics_there_is_nothing_to_draw():
    frame = pd.DataFrame({"step": [1, 2], "loss": [1.0, 0.9]})
    assert plot_contrast({"dcr": frame}, window=3).data == ()


NAMES = ("loss", "similarity_view", "similarity_target", "similarity_negative")
STEPS = {"step": [1, 2, 3], **{name: [3.0, 2.0, 1.0] for name in NAMES}}
SOURCES = {source_column(name, source): [0.1, 0.2, 0.3] for name in NAMES for source in "ab"}


def test_a_mixture_has_panels_with_a_line_for_the_whole_and_for_each_source():
    drawn = plot_contrast({"dcr": pd.DataFrame(STEPS | SOURCES)}, window=1)
    assert titles(drawn) == list(SOURCE_PANELS.values())
    lines = [(trace.name, trace.line.dash) for trace in drawn.data]
    assert lines == [("DCR", "solid"), ("DCR, a", "dot"), ("DCR, b", "dash")] * 3
    assert [t.name for t in drawn.data if t.showlegend] == ["DCR", "DCR, a", "DCR, b"]
    losses = plot_losses({"dcr": pd.DataFrame(STEPS | SOURCES)}, {}, window=1)
    dashed = [(trace.name, trace.line.dash) for trace in losses.data if trace.line.dash]
    assert dashed == [("loss-a", "dot"), ("loss-b", "dash")]


def test_a_run_of_one_source_has_no_panel_by_source():
    frame = pd.DataFrame(STEPS | {"alignment": [1.0, 2.0, 3.0]})
    assert titles(plot_contrast({"dcr": frame}, window=1)) == [PANELS["alignment"]]
    assert [t.name for t in plot_losses({"dcr": frame}, {}, window=1).data if t.line.dash] == []
