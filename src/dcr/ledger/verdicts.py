"""What may be said of a published number, from what was measured here: the rule, and why it is so.

An interval that holds the published number does not confirm it: a wide one holds nearly everything.
So the question is asked twice. Each claim has alternatives, which are what would hold if there were
nothing to it: of an improvement (encoder minus base) no change; of an enhanced encoder's score the
published score of its base; of a base's score the published scores of what was made of it.

- **not reproduced**: the number, and all that it may have been before it was rounded, lies outside
  of the interval that holds what the published trainings may give. If it came from trainings like
  those here, this would happen in 1 - confidence of the cases.
- **reproduced**: the interval of the measure holds the number and leaves out every alternative. If
  an alternative were right, it would be left out in 1 - confidence of the cases, at most.
- **cannot be told**: anything else. With more items, or more trainings, it could be.

The first asks for another interval than the second. A published number has luck of its own, most
often that of one training, which no paper tells. What one more training gives varies more than the
mean over several does (`dcr.metrics.runs.interval_over_seeds_and_items`): where seeds alone vary,
the 95 % interval of the mean over three leaves out one in six of further trainings, which would be
refuted without being wrong. Of weights that were not trained here both intervals are one, over
items.

A bound of the interval counts as in it, so that a draw is told as such. A published change of zero,
or of less than its rounding, can be refuted and not reproduced: no interval holds it and leaves out
no change. The interval of an improvement is that of the paired difference: what both encoders
answer alike, right or wrong, says nothing of it, and is most of the spread of either score.

Two cases stand apart. An encoder that was not trained here gives one and the same score on the same
items: where there are as many as the table tells, a score that is the published one in every stated
digit is reproduced, whatever the interval; no such score is expected of encoders trained again.
This holds of scores alone: two pairs gained of 135 are the published two, and still no evidence
that the encoder is better, which is what an improvement claims. And where one encoder was trained
here, its interval is over items alone and tells nothing of another training: nothing can be told.

Many claims are read together. Each is tested against its published number and against its
alternatives; Holm's correction for the number of all these tests marks the verdicts that survive
it (`dcr.ledger.judging`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dcr.evaluation.comparison import Estimate

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
CANNOT_BE_TOLD = "cannot be told"
NOT_MEASURED = "not measured here"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, CANNOT_BE_TOLD, NOT_MEASURED)

# Of decimal fractions in binary and of replicates, which are float32: far below any digit stated.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Stated:
    """A published number, and how far its value may be from it.

    Attributes:
        value: a fraction, or a difference of two.
        rounding: the value lies within it of the number, >= 0.
    """

    value: float
    rounding: float

    def __sub__(self, other: Stated) -> Stated:
        """Return the difference, whose rounding is that of both."""
        return Stated(self.value - other.value, self.rounding + other.rounding)

    def is_in(self, low: float, high: float) -> bool:
        """Return whether the interval from ``low`` to ``high`` holds what this may stand for."""
        reach = self.rounding + _TOLERANCE
        return low <= self.value + reach and high >= self.value - reach

    def nearest(self, value: float) -> float:
        """Return what of all it may stand for is nearest to ``value``."""
        reach = self.rounding + _TOLERANCE
        return min(max(value, self.value - reach), self.value + reach)


@dataclass(frozen=True)
class Alternative:
    """What would hold if there were nothing to a claim: in words, and as a number."""

    words: str
    stated: Stated


@dataclass(frozen=True)
class Decision:
    """One of `VERDICTS`, and the reason in words."""

    verdict: str
    reason: str
    is_exact: bool = False


def decide(
    published: Stated,
    alternatives: Sequence[Alternative],
    measured: Estimate,
    predicted: tuple[float, float] | None = None,
    has_same_items: bool = False,
) -> Decision:
    """Return what may be said of a published number; this module's docstring has the rule.

    Args:
        published: the number.
        alternatives: what the interval must leave out for the number to count as reproduced;
            without any, an interval can refute it alone.
        measured: the same here, with its interval; of an improvement the paired difference.
        predicted: bounds of what as many trainings as the published number is of may give; None
            where nothing was trained here.
        has_same_items: whether it is the score of an encoder that was not trained here, on as many
            items as the published one.
    """
    low, high = measured.low, measured.high
    if measured.num_seeds == 1:
        return Decision(CANNOT_BE_TOLD, "one training tells nothing of another")
    if has_same_items and published.is_in(measured.value, measured.value):
        return Decision(REPRODUCED, "the same in every stated digit", is_exact=True)
    if not math.isfinite(low) or not math.isfinite(high):
        return Decision(CANNOT_BE_TOLD, "what was measured has no interval")
    if not published.is_in(low, high):
        side = "higher" if low > published.value else "lower"
        if predicted is not None and published.is_in(*predicted):
            return Decision(
                CANNOT_BE_TOLD, f"{side} here, but within what other trainings may give"
            )
        return Decision(NOT_REPRODUCED, f"{side} here: the interval leaves out the number")
    held = [one for one in alternatives if one.stated.is_in(low, high)]
    if held:
        words = f"the interval holds {_listed(held)} too"
        return Decision(CANNOT_BE_TOLD, words + _more_items(published, held, measured))
    if not alternatives:
        return Decision(
            CANNOT_BE_TOLD, "nothing published tells what the interval should leave out"
        )
    return Decision(
        REPRODUCED, f"the interval holds the number and leaves out {_listed(alternatives)}"
    )


def _listed(alternatives: Sequence[Alternative]) -> str:
    first, *others = dict.fromkeys(one.words for one in alternatives)
    if len(others) > 1:
        return f"{first} and {len(others)} others"
    return " and ".join([first, *others])


def _more_items(published: Stated, held: Sequence[Alternative], measured: Estimate) -> str:
    """Say how many times as many items would tell.

    An interval over items narrows with the root of their number, and has to be narrower than the
    distance of what it should tell apart.
    """
    distance = min(
        abs(published.value - one.stated.value) - published.rounding - one.stated.rounding
        for one in held
    )
    if distance <= _TOLERANCE:
        return ", which is the published number within rounding"
    times = ((measured.high - measured.low) / 2 / distance) ** 2
    if measured.num_seeds > 0 or times <= 1:
        return ""
    return f"; about {max(2, math.ceil(times - _TOLERANCE))} times as many items would tell"
