"""What an evaluation needs to know, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dcr.metrics.bootstrap import Bootstrap, Statistics

Outcome = tuple[str, str, float]
PROBABILITIES = ("q1score", "q2score")  # columns of answers, float32


@dataclass(frozen=True)
class EvaluationOptions:
    """How scores are computed; see the recipe's `parameters_evaluation.yml` for each.

    ``num_workers`` and ``batch_size`` change the speed alone.
    """

    batch_size: int
    kmeans_seeds: Sequence[int]
    kmeans_num_init: int
    num_neighbours: int
    probe_inverse_regularization: float
    probe_max_iterations: int
    recall_at: Sequence[int]
    bootstrap: Bootstrap
    num_workers: int = 0
    kmeans_batch_size: int = 0
    compare_features: bool = False
    num_compared_images: int = 10_000
    num_compared_neighbours: int = 10


@dataclass(frozen=True)
class Result:
    """What an encoder reached in one benchmark on one set.

    scores: value by metric, fractions but for cosines and distances. intervals: (low, high) by metric.
    outcomes: (item, group, correct) per item, correct in [0, 1]. extra: further numbers for the record alone.
    answers: for MMVP-VLM, the per-question rows that the benchmark's own script writes. notes: sentences on the set
    that a reader of the scores must know.
    """

    benchmark: str
    dataset: str
    task: str
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    outcomes: list[Outcome] = field(default_factory=list)
    extra: dict[str, float] = field(default_factory=dict)
    answers: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Result:
        """Build from what ``dataclasses.asdict`` gave, after a way through JSON."""
        typed = {
            "intervals": {metric: tuple(interval) for metric, interval in record["intervals"].items()},
            "outcomes": [tuple(outcome) for outcome in record["outcomes"]],
            "answers": [row | {name: np.float32(row[name]) for name in PROBABILITIES} for row in record["answers"]],
        }
        return cls(**record | typed)


def score(
    statistics: Statistics, num_items: int, bootstrap: Bootstrap, groups: Sequence | None = None
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return the value and the bootstrap interval of each statistic; see `Bootstrap.intervals`."""
    scores = {name: float(value) for name, value in statistics(np.ones(num_items)).items()}
    return scores, bootstrap.intervals(statistics, num_items, groups)


def outcomes_of(items: Sequence[str], groups: Sequence[str], correct: np.ndarray) -> list[Outcome]:
    """Return one (item, group, correct) for each item."""
    return [(item, str(group), float(value)) for item, group, value in zip(items, groups, correct, strict=True)]
