"""Which setting is chosen: among the admissible, that whose smallest gain is the largest.

A setting is admissible if it loses no more than allowed. Gains of different measures become
comparable by a scale of each, for example by how much the measure varies when the same training is
repeated with another seed. The smallest of them counts, so that no measure is bought with another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dcr.parameters import SelectionParameters

_ROUNDING = 1e-9  # a mean over seeds may miss the value that all of them have by as much


@dataclass(frozen=True)
class Rule:
    """What a recipe declares.

    Attributes:
        improve: scale (> 0) of each measure that is to rise, by ``benchmark.metric``.
        keep: the largest loss (>= 0) that is allowed of each measure that need not rise.
    """

    improve: Mapping[str, float]
    keep: Mapping[str, float]

    @property
    def measures(self) -> list[str]:
        """All that the rule asks for, each once, what is to rise first."""
        return list(dict.fromkeys([*self.improve, *self.keep]))


def rule_of(selection: SelectionParameters) -> Rule:
    """Return the rule that section ``selection`` of a recipe declares."""
    return Rule(
        improve={entry.measure: entry.scale for entry in selection.improve},
        keep={entry.measure: entry.loss for entry in selection.keep},
    )


@dataclass(frozen=True)
class Judgement:
    """What a rule says of one setting.

    Attributes:
        gain: the smallest gain of the measures that are to rise, each divided by its scale.
        limited_by: the measure which that is of.
        violations: by measure, how much more than allowed was lost; empty if the setting keeps all.
    """

    gain: float
    limited_by: str
    violations: Mapping[str, float]

    @property
    def worst_violation(self) -> float:
        """The largest violation, 0 if there is none."""
        return max(self.violations.values(), default=0.0)


def judge_setting(rule: Rule, gains: Mapping[str, float]) -> Judgement:
    """Return what the rule says of a setting.

    Args:
        rule: scales and allowed losses, as fractions too.
        gains: by measure, the setting's mean over seeds minus the base's value; a fraction, as the
            scores are.
    """
    standardised = {measure: gains[measure] / scale for measure, scale in rule.improve.items()}
    limit = min(standardised, key=standardised.__getitem__)
    excess = {measure: -gains[measure] - allowed for measure, allowed in rule.keep.items()}
    violations = {measure: value for measure, value in excess.items() if value > _ROUNDING}
    return Judgement(standardised[limit], limit, violations)


def choose(judgements: Mapping[str, Judgement]) -> tuple[str, bool]:
    """Return which setting of ``judgements`` is chosen, and whether it keeps what the rule asks.

    Where no setting keeps all, it is the one whose worst violation is the smallest. Of equal ones
    the first is chosen.
    """
    keeping = [name for name, judgement in judgements.items() if not judgement.violations]
    if keeping:
        return max(keeping, key=lambda name: judgements[name].gain), True
    return min(judgements, key=lambda name: judgements[name].worst_violation), False
