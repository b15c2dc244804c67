"""How many verdicts are read together, and which of them survive a correction for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dcr.evaluation.comparison import NOISE, ONE_SEED, Comparison
from dcr.metrics.multiplicity import holm


@dataclass(frozen=True)
class Family:
    """Verdicts that are read together.

    Attributes:
        num_compared: measures that have a verdict, over all encoders that are shown.
        num_apart: those whose interval leaves out zero.
        survivors: (encoder, ``benchmark.metric``) of those that Holm's correction leaves.
        alpha: the probability that it bounds, of any false one among these.
    """

    num_compared: int
    num_apart: int
    survivors: frozenset[tuple[str, str]]
    alpha: float

    @property
    def by_chance(self) -> float:
        """How many intervals would leave out zero by chance if nothing had changed."""
        return self.num_compared * self.alpha


def correct(comparisons: Mapping[str, Sequence[Comparison]], confidence: float) -> Family:
    """Return what Holm's correction leaves of all verdicts on a page.

    What survives has an interval that leaves out zero, too: where a percentile interval and the p
    value of the normal approximation disagree, neither is claimed.

    Args:
        comparisons: of each encoder with the base; those of one seed have no verdict, and those
            without a p value cannot be told of.
        confidence: of the intervals; 1 minus it bounds the probability of any false survivor.
    """
    judged = [
        (name, comparison, comparison.p_value)
        for name, found in comparisons.items()
        for comparison in found
        if comparison.verdict != ONE_SEED and comparison.p_value is not None
    ]
    alpha = 1 - confidence
    adjusted = holm([p_value for *_, p_value in judged])
    apart = [comparison.verdict != NOISE for _, comparison, _ in judged]
    survivors = frozenset(
        (name, comparison.key)
        for (name, comparison, _), value, is_apart in zip(judged, adjusted, apart, strict=True)
        if is_apart and value <= alpha
    )
    return Family(len(judged), sum(apart), survivors, alpha)
