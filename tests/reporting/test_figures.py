"""Charts show the numbers they were given, in percent, and leave out what was not measured."""

import math
from itertools import pairwise

import pandas as pd
import pytest

import finished_run
from dcr.reporting import figures, loss_curves


def traces(figure):
    return {trace.name: trace for trace in figure.data if trace.name}


def test_the_radar_holds_every_encoder_in_every_type_and_closes_its_lines():
    scores = finished_run.methods().without_forms().scores
    drawn = traces(figures.plot_radar(scores))
    assert set(drawn) == {"Chance", "Base", "DCR", "Reconstruction", "Naive sum"}
    expected = [scores["dcr"]["mmvp_vlm"][name] * 100 for name in finished_run.TYPES]
    assert list(drawn["DCR"].r) == pytest.approx([*expected, expected[0]])
    assert drawn["DCR"].theta[3].replace("<br>", " ") == "Quantity and Count"
    assert set(drawn["Chance"].r) == {25}


@pytest.mark.parametrize(("best", "outer"), [(0.2, 25), (0.51, 75), (1.0, 100)])
def test_the_radar_reaches_to_the_quarter_above_its_largest_value(best, outer):
    scores = {"base": {"mmvp_vlm": {"mean": best, "Texts": best, "Color": 0.1}}}
    assert figures.plot_radar(scores, chance=None).layout.polar.radialaxis.range == (0, outer)


def test_loss_curves_show_the_raw_loss_its_median_and_the_held_out_error():
    losses = finished_run.losses()
    figure = loss_curves.plot_losses(losses, {"dcr": {"floor": 0.69}}, window=3)
    raw = [trace for trace in figure.data if trace.opacity == 0.35]
    assert [list(trace.y) for trace in raw] == [losses[run]["loss"].tolist() for run in losses]
    smooth = next(t for t in figure.data if t.name == "DCR" and len(t.x) == 100)
    assert smooth.y[5] == sorted(losses["dcr"]["loss"][4:7])[1]
    held_out = next(t for t in figure.data if t.name == "DCR" and len(t.x) == 10)
    assert list(held_out.x) == list(range(10, 101, 10))
    assert [annotation.text for annotation in figure.layout.annotations][-1] == "floor"


def test_the_dcr_loss_is_bounded_by_two_equal_positives_and_by_equal_similarities():
    floor, equal = loss_curves.dcr_loss_bounds(12).values()
    assert floor == pytest.approx(-math.log(1 / 2))
    assert equal == pytest.approx(-math.log(1 / 13))


def test_an_unknown_method_keeps_its_name_and_gets_a_colour():
    assert figures.colour("my method") == figures.colour("my method")
    assert figures.colour("dcr@2") == figures.colour("dcr") != figures.colour("base")


@pytest.mark.parametrize("num_runs", [1, 5, 6, 30])
def test_every_run_has_a_panel_however_many_there_are(num_runs):
    frame = pd.DataFrame({"step": [1, 2], "loss": [0.4, 0.3], "validation_loss": [None, 0.35]})

    figure = loss_curves.plot_losses(
        {f"method_{number}.1": frame for number in range(num_runs)}, {}, window=1
    )

    tops = sorted(
        {
            figure.layout[name].domain
            for name in figure.to_dict()["layout"]
            if name.startswith("yaxis")
        }
    )
    assert all(low < high for low, high in tops)
    assert all(below[1] < above[0] for below, above in pairwise(tops))
    assert len(figure.layout.annotations) == num_runs + 1
