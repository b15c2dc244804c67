"""The one judge: what changed between encoders, and how surely, over training seeds and over items.

Every `Result` keeps what its measures are in each resample of its items. Resamples depend on the
items alone, so that two encoders' replicates of one number are of the same draw, and their
difference is the paired replicate of whatever the measure is: a mean over items, NMI, a recall.

An encoder that was trained here stands with its further seeds for its method (`dcr.encoder_names`):
the method's score is the mean over them, its interval is over seeds and items. One seed has no
verdict. An encoder that was not trained here, as the base, is compared as it is, over items alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dcr.encoder_names import EncoderName, group_seeds
from dcr.errors import UserError
from dcr.evaluation.comparison import Comparison, Estimate, estimate, p_value
from dcr.evaluation.measurements import Measured, Measurements


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
        """Return {benchmark: {metric: its mean over seeds}} of ``name``, without a seed.

        It is an encoder or a method.

        Raises:
            UserError: it has no scores.
        """
        encoders = list(self._of(name).values())
        return {
            benchmark: {metric: self._estimate(encoders, benchmark, metric) for metric in metrics}
            for benchmark, metrics in self._measurements[encoders[0]].items()
        }

    def compare(self, before: str, after: str) -> list[Comparison]:
        """Compare two encoders or methods in every measure that both have, in ``before``'s order.

        Two methods are compared seed by seed, on the seeds that both have.

        Args:
            before, after: names without seed.

        Raises:
            UserError: one has no scores; they share no seed; or they were not measured on the same
                items.
        """
        first = self._pair(before, after)[0][0]
        return [
            self._compare(before, after, benchmark, metric)
            for benchmark, metrics in self._measurements[first].items()
            for metric in metrics
            if self._measured_pairs(before, after, benchmark, metric)
        ]

    def seeds(self, name: str, benchmark: str, metric: str) -> list[Measured]:
        """Return one measure of every encoder that goes by ``name``, without a seed, or []."""
        found = [self._get(encoder, benchmark, metric) for encoder in self._of(name).values()]
        return [one for one in found if one is not None]

    def differences(self, before: str, after: str, benchmark: str, metric: str) -> list[Measured]:
        """Return the paired differences of one measure, a seed each, as `compare` takes them.

        They are [] where none can be taken.

        Args:
            before, after: names without seed.
            benchmark, metric: names of the measure.

        Raises:
            UserError: as `compare`.
        """
        pairs = self._measured_pairs(before, after, benchmark, metric)
        return [
            second - first
            for first, second in (
                (self._get(one, benchmark, metric), self._get(other, benchmark, metric))
                for one, other in pairs
            )
            if first is not None and second is not None
        ]

    def is_trained(self, name: str) -> bool:
        """Return whether the encoder or method ``name`` was trained here."""
        return EncoderName.parse(name).method in self._trained

    def _measured_pairs(
        self, before: str, after: str, benchmark: str, metric: str
    ) -> list[tuple[str, str]]:
        """Return the pairs of encoders, one a seed, of which both have a measure."""
        return [
            pair
            for pair in self._pair(before, after)
            if all(self._get(name, benchmark, metric) for name in pair)
        ]

    def _compare(self, before: str, after: str, benchmark: str, metric: str) -> Comparison:
        pairs = self._measured_pairs(before, after, benchmark, metric)
        differences = self.differences(before, after, benchmark, metric)
        trained = self.is_trained(before) or self.is_trained(after)
        return Comparison(
            benchmark,
            metric,
            before=self._estimate([pair[0] for pair in pairs], benchmark, metric),
            after=self._estimate([pair[1] for pair in pairs], benchmark, metric),
            difference=estimate(differences, self._confidence, trained),
            p_value=p_value(differences),
        )

    def _estimate(self, encoders: Sequence[str], benchmark: str, metric: str) -> Estimate:
        found = [self._get(name, benchmark, metric) for name in dict.fromkeys(encoders)]
        measured = [one for one in found if one is not None]
        return estimate(measured, self._confidence, self.is_trained(encoders[0]))

    def _get(self, encoder: str, benchmark: str, metric: str) -> Measured | None:
        return self._measurements[encoder].get(benchmark, {}).get(metric)

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
        if not self.is_trained(before):
            return [(first[None], name) for name in second.values()]
        if not self.is_trained(after):
            return [(name, second[None]) for name in first.values()]
        pairs = [(first[seed], name) for seed, name in second.items() if seed in first]
        if not pairs:
            raise UserError(
                f"{before} and {after} share no training seed, so that they cannot be compared; run"
                " `kedro run --pipelines training,evaluation` for both with the same"
                " training.stage2_seeds"
            )
        return pairs
