"""The one judge: what changed between encoders, and how surely, over training seeds and over items.

Every `Result` keeps what its measures are in each resample of its items. Resamples depend on the
items alone, so that two encoders' replicates of one number are of the same draw, and their
difference is the paired replicate of whatever the measure is: a mean over items, NMI, a recall.
Pages, cards and sweeps read this module's verdicts and make none.

An encoder that was trained here stands with its further seeds for its method (`dcr.encoder_names`):
the method's score is the mean over them, its interval is over seeds and items. One seed has no
verdict. An encoder that was not trained here, as the base, is compared as it is, over items alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dcr.encoder_names import EncoderName, group_seeds
from dcr.errors import UserError
from dcr.evaluation.measurements import Measured, Measurements, check_items
from dcr.metrics.direction import is_share
from dcr.metrics.runs import interval_over_seeds_and_items

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
    """

    benchmark: str
    metric: str
    before: Estimate
    after: Estimate
    difference: Estimate

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


class Judge:
    """Compares encoders and methods by what was measured of them.

    Args:
        measurements: of every encoder.
        confidence: coverage of the intervals, in (0, 1).
        trained: methods that were trained here, with one seed or several.
    """

    def __init__(
        self, measurements: Measurements, confidence: float, trained: Collection[str]
    ) -> None:
        self._measurements = measurements
        self._confidence = confidence
        self._trained = set(trained)
        self._seeds = {
            name: {EncoderName.parse(encoder).seed: encoder for encoder in encoders}
            for name, encoders in group_seeds(measurements).items()
        }

    @property
    def names(self) -> list[str]:
        """The encoders and methods, without their seeds, in the order of the measurements."""
        return list(self._seeds)

    def estimates(self, name: str) -> dict[str, dict[str, Estimate]]:
        """Return {benchmark: {metric: its mean over seeds}} of an encoder or method, ``name``
        without a seed.

        Raises:
            UserError: it has no scores.
        """
        encoders = list(self._of(name).values())
        return {
            benchmark: {metric: self._estimate(encoders, benchmark, metric) for metric in metrics}
            for benchmark, metrics in self._measurements[encoders[0]].items()
        }

    def compare(self, before: str, after: str) -> list[Comparison]:
        """Compare two encoders or methods in every measure that both have, in the order of
        ``before``'s.

        Two methods are compared seed by seed, on the seeds that both have.

        Args:
            before, after: names without seed.

        Raises:
            UserError: one has no scores; they share no seed; or they were not measured on the same
                items.
        """
        pairs = self._pair(before, after)
        found = []
        for benchmark, metrics in self._measurements[pairs[0][0]].items():
            for metric in metrics:
                measured = [
                    pair
                    for pair in pairs
                    if all(self._get(name, benchmark, metric) for name in pair)
                ]
                if measured:
                    found.append(self._compare(measured, benchmark, metric))
        return found

    def _compare(self, pairs: Sequence[tuple[str, str]], benchmark: str, metric: str) -> Comparison:
        before, after = ([pair[side] for pair in pairs] for side in (0, 1))
        differences = [
            self._get(second, benchmark, metric) - self._get(first, benchmark, metric)
            for first, second in pairs
        ]
        trained = self._is_trained(before[0]) or self._is_trained(after[0])
        return Comparison(
            benchmark,
            metric,
            before=self._estimate(before, benchmark, metric),
            after=self._estimate(after, benchmark, metric),
            difference=estimate(differences, self._confidence, trained),
        )

    def _estimate(self, encoders: Sequence[str], benchmark: str, metric: str) -> Estimate:
        found = [self._get(name, benchmark, metric) for name in dict.fromkeys(encoders)]
        measured = [one for one in found if one is not None]
        return estimate(measured, self._confidence, self._is_trained(encoders[0]))

    def _get(self, encoder: str, benchmark: str, metric: str) -> Measured | None:
        return self._measurements[encoder].get(benchmark, {}).get(metric)

    def _is_trained(self, name: str) -> bool:
        return EncoderName.parse(name).method in self._trained

    def _of(self, name: str) -> dict[int | None, str]:
        """Return the encoders of a method by their seed."""
        if name not in self._seeds:
            raise UserError(
                f"scores of encoder {name!r} are missing (there are {', '.join(self._seeds)}); "
                "run `kedro run --pipelines evaluation` again"
            )
        return self._seeds[name]

    def _pair(self, before: str, after: str) -> list[tuple[str, str]]:
        """Return (before, after) of each seed; what was not trained stands beside every seed."""
        first = self._of(before)
        second = self._of(after)
        if not self._is_trained(before):
            return [(first[None], name) for name in second.values()]
        if not self._is_trained(after):
            return [(name, second[None]) for name in first.values()]
        pairs = [(first[seed], name) for seed, name in second.items() if seed in first]
        if not pairs:
            raise UserError(
                f"{before} and {after} share no training seed, so that they cannot be compared; run"
                " `kedro run --pipelines training,evaluation` for both with the same"
                " training.stage2_seeds"
            )
        return pairs


def comparison_records(comparisons: Sequence[Comparison]) -> dict[str, dict[str, Any]]:
    """Return ``comparisons`` as {benchmark: {metric: its estimates and verdict as plain
    values}}, fit for JSON.
    """
    records: dict[str, dict[str, Any]] = {}
    for comparison in comparisons:
        values = {
            side: asdict(getattr(comparison, side)) for side in ("before", "after", "difference")
        }
        records.setdefault(comparison.benchmark, {})[comparison.metric] = {
            **values,
            "verdict": comparison.verdict,
        }
    return records


def read_comparisons(records: Mapping[str, Mapping[str, Any]]) -> list[Comparison]:
    """Return the comparisons of ``records`` that `comparison_records` made; verdicts are judged
    anew.
    """
    return [
        Comparison(
            benchmark,
            metric,
            **{side: Estimate(**record[side]) for side in ("before", "after", "difference")},
        )
        for benchmark, metrics in records.items()
        for metric, record in metrics.items()
    ]
