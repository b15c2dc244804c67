"""The contrast's diagnostics as curves: those that were measured, of the runs that measured
them.
"""

import pandas as pd

import finished_run
from dcr.reporting.contrast import PANELS, plot_contrast
from dcr.reporting.loss_curves import plot_losses


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


def test_a_mixture_has_a_line_for_each_source_in_its_panels():
    steps = {"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0]}
    sources = {f"{n}/{s}": [0.1, 0.2, 0.3] for n in ("loss", "similarity_view") for s in "ab"}
    frame = pd.DataFrame(steps | sources)
    drawn = plot_contrast({"dcr": frame}, window=1)
    assert titles(drawn) == ["Similarity to the view, by source"]
    assert [trace.hovertemplate.rpartition(", ")[2] for trace in drawn.data] == [
        "a</extra>",
        "b</extra>",
    ]
    losses = plot_losses({"dcr": frame}, {}, window=1)
    assert [t.name for t in losses.data if t.line.dash] == ["loss/a", "loss/b"]
    plain = plot_losses({"dcr": pd.DataFrame(steps)}, {}, window=1)
    assert [t.name for t in plain.data if t.line.dash] == []
