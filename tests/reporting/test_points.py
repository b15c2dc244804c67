"""A line of one point tells its number."""

import pandas as pd
import pytest

from dcr.reporting.contrast import plot_contrast
from dcr.reporting.loss_curves import plot_losses


def logged(steps):
    numbers = range(1, steps + 1)
    return pd.DataFrame(
        {
            "step": numbers,
            "loss": [0.5] * steps,
            "validation_loss": [0.25] * steps,
            "alignment": [0.125] * steps,
        }
    )


@pytest.mark.parametrize(
    "plot", [lambda logs: plot_losses(logs, {}, 3), lambda logs: plot_contrast(logs, 3)]
)
def test_a_run_of_one_step_is_drawn_as_numbers(plot):
    texts = [trace.text for trace in plot({"dcr": logged(1)}).data]
    assert texts
    assert all(text in (("0.5",), ("0.25",), ("0.125",)) for text in texts)


@pytest.mark.parametrize(
    "plot", [lambda logs: plot_losses(logs, {}, 3), lambda logs: plot_contrast(logs, 3)]
)
def test_longer_runs_stay_lines(plot):
    assert all(trace.text is None for trace in plot({"dcr": logged(2)}).data)
