"""Numbers stand in units of their size."""

import pytest

from dcr.planning.units import in_bytes, in_flops, in_time


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0.00 kB"),
        (1234, "1.23 kB"),
        (56_780_000, "56.8 MB"),
        (5.02e11, "502 GB"),
        (1.2e16, "12,000 TB"),
    ],
)
def test_bytes(number, text):
    assert in_bytes(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(4.15e11, "415 GFLOP"), (1.8e14, "180 TFLOP"), (1.4e18, "1.40 EFLOP")]
)
def test_operations(number, text):
    assert in_flops(number) == text


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.0001, "< 1 s"), (0.01, "36.0 s"), (0.5, "30.0 min"), (1.39, "1.39 h"), (2500, "2,500 h")],
)
def test_time(hours, text):
    assert in_time(hours) == text
