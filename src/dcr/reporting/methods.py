"""What the pages tell of: methods, each the mean over the encoders of its training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dcr.encoder_names import ALIGNED, EncoderName, group_seeds
from dcr.errors import UserError
from dcr.evaluation.comparison import Comparison, read_comparisons
from dcr.evaluation.judge import Judge
from dcr.reporting.names import Intervals, Scores

T = TypeVar("T")


@dataclass(frozen=True)
class Methods:
    """What was measured of methods, and what the judge says of it.

    Attributes:
        base, product: names of the encoder that all start from, and of the method that the recipe
            is about.
        encoders: scores of every encoder, each seed by itself.
        seeds: encoders of each method, by its name without a seed.
        scores, intervals: of each method, means over its seeds.
        comparisons: of each method, against the base.
        rivals: of each rival, the product against it.
        alignments: of each pair of names (as trained, aligned), the aligned encoder against the
            same as trained.
    """

    base: str
    product: str
    encoders: Scores
    seeds: Mapping[str, Sequence[str]]
    scores: Scores
    intervals: Intervals
    comparisons: Mapping[str, Sequence[Comparison]]
    rivals: Mapping[str, Sequence[Comparison]]
    alignments: Mapping[tuple[str, str], Sequence[Comparison]]

    @property
    def num_seeds(self) -> int:
        """Training seeds of the product."""
        return len(self.seeds.get(self.product, ()))

    def without_forms(self) -> Methods:
        """Return these methods without those that only show what alignment did to another."""

        def kept(table: Mapping[str, T]) -> dict[str, T]:
            """Return the entries of ``table`` whose key is a method's own name."""
            return {
                name: value for name, value in table.items() if not EncoderName.parse(name).form
            }

        return replace(
            self,
            encoders=kept(self.encoders),
            seeds=kept(self.seeds),
            scores=kept(self.scores),
            intervals=kept(self.intervals),
            comparisons=kept(self.comparisons),
        )


def gather(
    judge: Judge,
    scores: Scores,
    comparisons: Mapping[str, Any],
    base: str,
    product: str,
    rivals: Sequence[str],
) -> Methods:
    """Return the methods of an evaluation.

    Args:
        judge: of its measurements.
        scores: of every encoder; one that answered no set has none.
        comparisons: `comparisons.json`: each method's records against the base.
        base, product: see `Methods`.
        rivals: methods that the product is compared with; those that were not evaluated are left
            out.

    Raises:
        UserError: the base or the product has no scores.
    """
    seeds = group_seeds(scores)
    if absent := [name for name in (base, product) if name not in seeds]:
        raise UserError(
            f"scores of encoder {absent[0]!r} are missing (there are {', '.join(seeds)}); "
            "run `kedro run --pipelines evaluation` again"
        )
    estimates = {name: judge.estimates(name) if name in judge.names else {} for name in seeds}
    aligned = [
        pair
        for name in seeds
        if (pair := _before_and_after_alignment(name)) and set(pair) <= set(judge.names)
    ]
    return Methods(
        base=base,
        product=product,
        encoders=scores,
        seeds=seeds,
        scores={
            name: _map(own, lambda estimate: estimate.value) for name, own in estimates.items()
        },
        intervals={
            name: _map(own, lambda estimate: (estimate.low, estimate.high))
            for name, own in estimates.items()
        },
        comparisons={
            name: read_comparisons(comparisons.get(name, {})) for name in seeds if name != base
        },
        rivals={
            name: judge.compare(name, product)
            for name in rivals
            if {name, product} <= set(judge.names)
        },
        alignments={pair: judge.compare(*pair) for pair in aligned},
    )


def _map(benchmarks: Mapping[str, Mapping[str, Any]], function: Any) -> dict[str, dict[str, Any]]:
    return {
        name: {metric: function(value) for metric, value in own.items()}
        for name, own in benchmarks.items()
    }


def _before_and_after_alignment(name: str) -> tuple[str, str] | None:
    """Return an encoder's names as trained and as aligned, from the one beside the other."""
    form = EncoderName.parse(name)
    if not form.form:
        return None
    beside = str(replace(form, form=""))
    return (beside, name) if form.form == ALIGNED else (name, beside)
