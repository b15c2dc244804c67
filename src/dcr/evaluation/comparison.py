"""What is said of a difference between encoders: its estimate, its interval and the verdict.

Pages, cards and sweeps read this module's verdicts and make none; `dcr.evaluation.judge` compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dcr.evaluation.measurements import Measured, check_items
from dcr.metrics.direction import is_share
from dcr.metrics.runs import interval_over_seeds_and_items, p_value_over_seeds_and_items

BETTER = "better"
WORSE = "worse"
NOISE = "within noise"
HIGHER = "higher"
LOWER = "lower"
ONE_SEED = "one seed"


@dataclass(frozen=True)
class Estimate:
    """A score or a difference with its interval.

    Attributes:
        value: the mean over seeds.
        low, high: bounds of the interval, over seeds and items.
        num_seeds: training seeds behind it; 0 where nothing was trained.
        deviation: standard deviation of a single seed's value, None for fewer than two seeds.
    """

    value: float
    low: float
    high: float
    num_seeds: int
    deviation: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One measure of an encoder or method against another.

    Attributes:
        benchmark, metric: names of the measure.
        before, after: each by itself.
        difference: after minus before, seed by seed and item by item.
        p_value: of the difference being zero, see
            `dcr.metrics.runs.p_value_over_seeds_and_items`; None where it was not computed.
    """

    benchmark: str
    metric: str
    before: Estimate
    after: Estimate
    difference: Estimate
    p_value: float | None = None

    @property
    def key(self) -> str:
        """The measure as ``benchmark.metric``."""
        return f"{self.benchmark}.{self.metric}"

    @property
    def is_share(self) -> bool:
        """Whether the measure is a fraction in [0, 1] of which more is better."""
        return is_share(self.benchmark)

    @property
    def verdict(self) -> str:
        """The one verdict, see `judge`."""
        return judge(self.difference, self.is_share)


def judge(difference: Estimate, has_better_end: bool = True) -> str:
    """Return what may be said of a difference.

    ``better`` or ``worse``, or ``higher`` or ``lower`` where there is no better end; ``within
    noise`` if the interval holds zero; and ``one seed`` where it is over the items of one training
    alone.

    Args:
        difference: after minus before.
        has_better_end: whether more of the measure is better; cosines and distances have no better
            end.
    """
    if difference.num_seeds == 1:
        return ONE_SEED
    if difference.low > 0:
        return BETTER if has_better_end else HIGHER
    if difference.high < 0:
        return WORSE if has_better_end else LOWER
    return NOISE


def p_value(differences: Sequence[Measured], num_other_seeds: int | None = None) -> float:
    """Return the p value of the mean of ``differences``, one a seed, being zero.

    With ``num_other_seeds`` it is that of the mean over so many being zero; see
    `dcr.metrics.runs.p_value_over_seeds_and_items`.
    """
    values = [measured.value for measured in differences]
    replicates = np.stack([one.replicates for one in differences])
    return p_value_over_seeds_and_items(values, replicates, num_other_seeds)


def predict(
    seeds: Sequence[Measured], confidence: float, num_other_seeds: int
) -> tuple[float, float]:
    """Return the interval (low, high) of the mean over other seeds than these.

    Of one seed, or of what was not trained, it is that over items alone.

    Args:
        seeds: the same measure of every seed's encoder, or its difference.
        confidence: coverage of the interval, in (0, 1).
        num_other_seeds: how many others the mean is over.
    """
    values = [measured.value for measured in seeds]
    replicates = np.stack([measured.replicates for measured in seeds])
    return interval_over_seeds_and_items(values, replicates, confidence, num_other_seeds)


def estimate(seeds: Sequence[Measured], confidence: float, trained: bool = True) -> Estimate:
    """Return the mean over ``seeds`` with its interval.

    Args:
        seeds: the same measure of every seed's encoder, or its difference; one where nothing was
            trained.
        confidence: coverage of the interval, in (0, 1).
        trained: whether these are seeds of a training.

    Raises:
        UserError: they are not of the same items.
    """
    check_items(seeds)
    values = [measured.value for measured in seeds]
    replicates = np.stack([measured.replicates for measured in seeds])
    low, high = interval_over_seeds_and_items(values, replicates, confidence)
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Estimate(float(np.mean(values)), low, high, len(seeds) if trained else 0, deviation)


def comparison_records(comparisons: Sequence[Comparison]) -> dict[str, dict[str, Any]]:
    """Return ``comparisons`` as {benchmark: {metric: plain values}}, fit for JSON.

    The values are its estimates and its verdict.
    """
    records: dict[str, dict[str, Any]] = {}
    for comparison in comparisons:
        values = {
            side: asdict(getattr(comparison, side)) for side in ("before", "after", "difference")
        }
        records.setdefault(comparison.benchmark, {})[comparison.metric] = {
            **values,
            "p_value": comparison.p_value,
            "verdict": comparison.verdict,
        }
    return records


def read_comparisons(records: Mapping[str, Mapping[str, Any]]) -> list[Comparison]:
    """Return the comparisons of ``records`` of `comparison_records`, with verdicts judged anew."""
    return [
        Comparison(
            benchmark,
            metric,
            **{side: Estimate(**record[side]) for side in ("before", "after", "difference")},
            p_value=record.get("p_value"),
        )
        for benchmark, metrics in records.items()
        for metric, record in metrics.items()
    ]
