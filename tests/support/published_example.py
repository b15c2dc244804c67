"""A small file of published tables: one table, a base and what was made of it."""

from __future__ import annotations

from typing import Any


def example() -> dict[str, Any]:
    """Return what the file says, to be changed as a test likes."""
    table = {
        "source": "paper",
        "title": "Table 1",
        "benchmark": "mmvp_vlm",
        "metric": "mean",
        "sets": ["mmvp_vlm"],
        "rule": "image_score",
        "items": 135,
        "trainings": 1,
        "unit": "percent",
        "rounding": 0.1,
        "values": {"plain": 20.0, "sharp": 33.3},
    }
    return {
        "sources": {"paper": {"title": "A paper", "place": "arXiv 0000.00000"}},
        "encoders": {
            "plain": {"name": "Plain", "method": "original"},
            "sharp": {"name": "Sharp", "method": "DCR", "base": "plain"},
        },
        "tables": [table],
    }
