"""Scores as a page shows them: shares in percent, differences in percentage points.

The minus sign is a true one.
"""

from __future__ import annotations

import math

from dcr.evaluation.comparison import BETTER, HIGHER, LOWER, NOISE, ONE_SEED, WORSE, Comparison

SIGNS = {BETTER: "▲", WORSE: "▼", HIGHER: "△", LOWER: "▽", NOISE: "≈", ONE_SEED: "○"}


def show_value(value: float, is_share: bool = True) -> str:
    """Return ``value`` as a percentage if ``is_share``, else as it is; a dash for NaN.

    The former has one decimal, the latter three.
    """
    if not math.isfinite(value):
        return "–"
    return (f"{value * 100:.1f}" if is_share else f"{value:.3f}").replace("-", "−")


def show_difference(value: float, is_share: bool = True) -> str:
    """Return the difference ``value`` with its sign, none where it rounds to zero.

    ``is_share`` is as in `show_value`.
    """
    shown = show_value(value, is_share)
    if not any(digit in shown for digit in "123456789"):
        return shown.lstrip("−")
    return shown if shown.startswith("−") else f"+{shown}"


def show_interval(interval: tuple[float, float], is_share: bool = True) -> str:
    """Return ``interval``, (low, high), as ``low to high``; ``is_share`` as in `show_value`."""
    return " to ".join(show_value(bound, is_share) for bound in interval)


def change_cell(comparison: Comparison) -> dict[str, str]:
    """Return value, difference with its interval, verdict and sign of ``comparison`` as words."""
    difference = comparison.difference
    share = comparison.is_share
    return {
        "value": show_value(comparison.after.value, share),
        "difference": show_difference(difference.value, share),
        "interval": " to ".join(
            show_difference(bound, share) for bound in (difference.low, difference.high)
        ),
        "verdict": comparison.verdict,
        "sign": SIGNS[comparison.verdict],
    }
