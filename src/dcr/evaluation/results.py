"""What an evaluation needs to know, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from dcr.fingerprints import json_hash
from dcr.metrics.bootstrap import Bootstrap, Statistics, percentile_interval

if TYPE_CHECKING:
    from dcr.parameters import EvaluationParameters

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
    num_segmentation_patches: int = 102_400
    num_segmentation_neighbours: int = 30
    segmentation_temperature: float = 0.02

    @classmethod
    def of(cls, parameters: EvaluationParameters) -> EvaluationOptions:
        """Return the options that ``parameters``, a recipe's section `evaluation`, set."""
        bootstrap = Bootstrap(parameters.num_resamples, parameters.confidence, parameters.seed)
        names = [option.name for option in fields(cls) if option.name != "bootstrap"]
        return cls(**{name: getattr(parameters, name) for name in names}, bootstrap=bootstrap)


@dataclass(frozen=True)
class Items:
    """What the resamples of a result draw.

    Attributes:
        unit: one of them in words: "image", "pair of images", "image with its captions".
        ids: (N,), their names in the order of the statistics' counts.
        groups: (N,), of which each keeps its number of items in every resample; None draws from all
            alike.
    """

    unit: str
    ids: Sequence[str]
    groups: Sequence[str] | None = None


@dataclass(frozen=True)
class Result:
    """What an encoder reached in one benchmark on one set.

    Attributes:
        benchmark, dataset, task: names of what was asked, of the set, and of CLIP_benchmark's kind
            of task.
        scores: value by metric, fractions but for cosines and distances.
        intervals: (low, high) by metric.
        unit: what one resampled item is, see `Items`.
        items: hash of the items and of how they were drawn: replicates of results that share it are
            of the same draws, so that their difference, draw by draw, is that of paired resamples.
        replicates: (R,) float32 by metric, its value in every resample.
        outcomes: (item, group, correct) per item, correct in [0, 1].
        extra: further numbers for the record alone.
        answers: for MMVP-VLM, the per-question rows that the benchmark's own script writes.
        notes: sentences on the set that a reader of the scores must know.
        rules: of caption selection, the rule that each metric is scored by, see
            `dcr.metrics.caption_selection`.
        chance: what guessing gives, by metric.
    """

    benchmark: str
    dataset: str
    task: str
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    unit: str
    items: str
    replicates: dict[str, np.ndarray] = field(compare=False)
    outcomes: list[Outcome] = field(default_factory=list)
    extra: dict[str, float] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rules: dict[str, str] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """Return all but the replicates as plain values."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "replicates"}

    @classmethod
    def from_record(cls, record: dict[str, Any], replicates: dict[str, np.ndarray]) -> Result:
        """Build from ``record``, what `to_record` gave, after a way through JSON.

        ``replicates`` are (R,) by metric.
        """
        typed = {
            "intervals": {
                metric: tuple(interval) for metric, interval in record["intervals"].items()
            },
            "outcomes": [tuple(outcome) for outcome in record["outcomes"]],
            "answers": [
                row | {name: np.float32(row[name]) for name in PROBABILITIES}
                for row in record["answers"]
            ],
        }
        return cls(**record | typed, replicates=replicates)


def score(statistics: Statistics, items: Items, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return what a `Result` holds of a measure: scores, intervals, unit, items and replicates.

    Args:
        statistics: the values by name, from how often each item counts (..., N).
        items: what is resampled.
        bootstrap: how.
    """
    number = len(items.ids)
    scores = {name: float(value) for name, value in statistics(np.ones(number)).items()}
    replicates = bootstrap.replicates(statistics, number, items.groups)
    groups = None if items.groups is None else list(map(str, items.groups))
    return {
        "scores": scores,
        "intervals": {
            name: percentile_interval(values, bootstrap.confidence)
            for name, values in replicates.items()
        },
        "unit": items.unit,
        "items": json_hash(
            [items.unit, list(items.ids), groups, bootstrap.num_resamples, bootstrap.seed]
        ),
        "replicates": {name: values.astype(np.float32) for name, values in replicates.items()},
    }


def outcomes_of(items: Sequence[str], groups: Sequence[str], correct: np.ndarray) -> list[Outcome]:
    """Return one (item, group, correct) for each item.

    Args:
        items, groups: (N,), names of the items and of what each belongs to: a class, a type, an
            attribute.
        correct: (N,), bool or a share in [0, 1].
    """
    return [
        (item, str(group), float(value))
        for item, group, value in zip(items, groups, correct, strict=True)
    ]
