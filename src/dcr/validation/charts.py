"""Histograms as inline SVG, without a plotting library or a script."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape

_WIDTH = 320
_HEIGHT = 120
_BASE = 96


def histogram_svg(values: np.ndarray, label: str, num_bins: int = 32) -> Markup:
    """Return a histogram, with its range and counts written out for hover and readers.

    Args:
        values: (N,), finite, at least one.
        label: what they are, for those who hear the page.
        num_bins: bars of equal width, from the smallest to the largest value.
    """
    counts, edges = np.histogram(values, bins=num_bins, range=_range(values))
    step = _WIDTH / num_bins
    top = max(1, int(counts.max()))
    bars = "".join(
        f'<rect x="{i * step + 0.5:.2f}" y="{_BASE - _BASE * count / top:.2f}"'
        f' width="{step - 1:.2f}" height="{_BASE * count / top:.2f}"><title>{show_number(edges[i])}'
        f" to {show_number(edges[i + 1])}: {count}</title></rect>"
        for i, count in enumerate(counts)
        if count
    )
    low = show_number(edges[0])
    high = show_number(edges[-1])
    middle = show_number(float(np.median(values)))
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}: median'
        f' {middle}"><g class="bars">{bars}</g><line x1="0" x2="{_WIDTH}" y1="{_BASE}"'
        f' y2="{_BASE}"/><text x="0" y="114">{low}</text><text x="{_WIDTH / 2:.0f}" y="114"'
        f' text-anchor="middle">median {middle}</text><text x="{_WIDTH}" y="114"'
        f' text-anchor="end">{high}</text></svg>'
    )


def _range(values: np.ndarray) -> tuple[float, float]:
    low = float(values.min())
    high = float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)  # a bar needs a width


def show_number(value: float) -> str:
    """Return ``value`` with three digits, or with all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
