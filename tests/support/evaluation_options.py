"""Options of an evaluation that takes a moment."""

from __future__ import annotations

from typing import Any

from dcr.evaluation import EvaluationOptions
from dcr.metrics.bootstrap import Bootstrap


def quick_options(**changes: Any) -> EvaluationOptions:
    """Return options with few starts and resamples."""
    usual = {
        "batch_size": 7,
        "kmeans_seeds": [0, 1],
        "kmeans_num_init": 5,
        "num_neighbours": 5,
        "probe_inverse_regularization": 1.0,
        "probe_max_iterations": 500,
        "recall_at": [1, 5],
        "bootstrap": Bootstrap(num_resamples=50, confidence=0.95, seed=0),
    }
    return EvaluationOptions(**usual | changes)
