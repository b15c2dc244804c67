"""`selection.json`: rule, candidates, what was chosen and why.

Also what a recipe that keeps it may say of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dcr.encoder_names import BASE, aligned_name
from dcr.parameters import AlignmentParameters, SelectionParameters, TrainingParameters
from dcr.reporting.names import Intervals, Scores, measure_name
from dcr.reporting.numbers import show_difference
from dcr.selection.rule import Judgement, Rule, choose, judge_setting, rule_of
from dcr.selection.setting import compare_settings, describe_setting

if TYPE_CHECKING:
    from dcr.selection.trial import Outcome

Record = Mapping[str, Any]


def make_record(
    selection: SelectionParameters, outcomes: Mapping[str, Outcome], all_outcomes: Iterable[Outcome]
) -> dict[str, Any]:
    """Return what the search came to.

    Args:
        selection: the rule, with seeds, sets and the hours that the search was given.
        outcomes: of the recipe's candidates, at least one, in its order.
        all_outcomes: these, and those of candidates that the recipe had before, which count as
            tried.
    """
    rule = rule_of(selection)
    gains = {name: _gains(outcome, rule) for name, outcome in outcomes.items()}
    judgements = {name: judge_setting(rule, own) for name, own in gains.items()}
    chosen, keeps = choose(judgements)
    tried = {setting for outcome in all_outcomes for setting in outcome.get("settings_tried", [])}
    return {
        "chosen": chosen,
        "keeps_all": keeps,
        "why": _explain(chosen, judgements, gains, rule),
        "num_settings_tried": len(tried),
        "rule": selection.model_dump(include={"improve", "keep"}),
        "seeds": selection.seeds,
        "sets": selection.sets,
        "hours": {
            "spent": round(sum(outcome["seconds"] for outcome in outcomes.values()) / 3600, 3),
            "budget": selection.budget_hours,
        },
        "setting": outcomes[chosen]["setting"],
        "made_of": outcomes[chosen]["made_of"],
        "candidates": {
            name: _describe(outcomes[name], judgements[name], rule) for name in outcomes
        },
    }


def _gains(outcome: Outcome, rule: Rule) -> dict[str, float]:
    return {
        key: _measure(outcome["comparisons"][BASE], key)["difference"]["value"]
        for key in rule.measures
    }


def _measure(comparisons: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    benchmark, _, metric = key.partition(".")
    comparison: Mapping[str, Any] = comparisons[benchmark][metric]
    return comparison


def _describe(outcome: Outcome, judgement: Judgement, rule: Rule) -> dict[str, Any]:
    """Return what is told of a candidate: the rule's measures against the base.

    The base's when aligned alike are told, too.
    """
    aligned = outcome["comparisons"].get(aligned_name(BASE))
    measures = {}
    for key in rule.measures:
        found = dict(_measure(outcome["comparisons"][BASE], key))
        found["seeds"] = _of_seeds(outcome, key)
        found["base_aligned"] = _measure(aligned, key)["before"]["value"] if aligned else None
        measures[key] = found
    return {
        "overrides": outcome["overrides"],
        "alignment": outcome["setting"]["alignment"]["form"],
        "smallest_gain": judgement.gain,
        "limited_by": judgement.limited_by,
        "violations": dict(judgement.violations),
        "measures": measures,
        "steps": sum(run["steps"] for run in next(iter(outcome["runs"].values())).values()),
        "hours": round(outcome["seconds"] / 3600, 3),
    }


def _of_seeds(outcome: Outcome, key: str) -> dict[str, float]:
    """Return the value of each seed's encoder."""
    benchmark, _, metric = key.partition(".")
    return {
        seed: outcome["scores"][f"{outcome['method']}@{seed}"][benchmark][metric]
        for seed in outcome["runs"]
    }


def tabulate_scores(outcomes: Mapping[str, Outcome]) -> tuple[Scores, Intervals, Scores]:
    """Return scores and intervals of base and candidates, means over seeds, and of every seed.

    The third are the scores of the base and of each seed by itself.

    Args:
        outcomes: by candidate; the values are fractions, by set and metric.
    """
    scores: dict[str, Any] = {}
    intervals: dict[str, Any] = {}
    encoders: dict[str, Any] = {}
    for name, outcome in outcomes.items():
        against_base = outcome["comparisons"][BASE]
        scores |= {
            BASE: _pick(against_base, "before", _value),
            name: _pick(against_base, "after", _value),
        }
        intervals |= {
            BASE: _pick(against_base, "before", _bounds),
            name: _pick(against_base, "after", _bounds),
        }
        seeds = {
            f"{name}@{seed}": outcome["scores"][f"{outcome['method']}@{seed}"]
            for seed in outcome["runs"]
        }
        encoders |= {BASE: outcome["scores"][BASE], **seeds}
    return scores, intervals, encoders


def _pick(
    comparisons: Mapping[str, Any], side: str, read: Callable[[Mapping[str, float]], Any]
) -> dict[str, Any]:
    return {
        benchmark: {metric: read(comparison[side]) for metric, comparison in metrics.items()}
        for benchmark, metrics in comparisons.items()
    }


def _value(estimate: Mapping[str, float]) -> float:
    return estimate["value"]


def _bounds(estimate: Mapping[str, float]) -> tuple[float, float]:
    return estimate["low"], estimate["high"]


def _explain(
    chosen: str,
    judgements: Mapping[str, Judgement],
    gains: Mapping[str, Mapping[str, float]],
    rule: Rule,
) -> str:
    """Return in one sentence why a candidate was chosen."""
    own = judgements[chosen]
    number = len(judgements)
    if own.violations:
        worst = max(own.violations, key=own.violations.__getitem__)
        return (
            f"None of {number} candidates keeps what the rule asks for; {chosen} exceeds it the"
            f" least, by {_points(own.violations[worst])} points of {measure_name(worst)}."
        )
    keeping = sum(not judgement.violations for judgement in judgements.values())
    gain = show_difference(gains[chosen][own.limited_by])
    return (
        f"Of {number} candidates {keeping} keep{'s' * (keeping == 1)} what the rule asks for; of"
        f" these {chosen} has the largest smallest gain: {measure_name(own.limited_by)} {gain}"
        f" points, {own.gain:.2f} times its scale of {_points(rule.improve[own.limited_by])}."
    )


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def check_recipe(
    record: Record, training: TrainingParameters, alignment: AlignmentParameters
) -> list[str]:
    """Return in words where a recipe differs from the setting chosen for it, nothing if nowhere.

    Args:
        record: the `selection.json` that the recipe keeps.
        training, alignment: as the recipe has them now.
    """
    return compare_settings(record["setting"], describe_setting(training, alignment))


def tell_selection(
    record: Record, training: TrainingParameters, alignment: AlignmentParameters
) -> list[str]:
    """Return what a page says of how its setting was found, nothing if no search is on record.

    It is given in sentences.

    Args:
        record: the `selection.json` that the recipe keeps, {} without one.
        training, alignment: as the recipe has them now.
    """
    if not record:
        return []
    seeds = len(record["seeds"])
    told = [
        (
            f"{record['num_settings_tried']} settings were tried on validation data, each with"
            f" {seeds} seed{'s' * (seeds != 1)} that this page does not show; the rule was declared"
            f" before. {tell_rule(record)}"
        ),
        f"Chosen was {record['chosen']}. {record['why']}",
    ]
    if differences := check_recipe(record, training, alignment):
        told.append(f"This run is not of that setting: {', '.join(differences)}.")
    return told


def tell_rule(record: Record) -> str:
    """Return in words the rule that stands in a ``record``, the `selection.json` of a search."""
    improve = " and ".join(
        f"{measure_name(entry['measure'])} in units of {_points(entry['scale'])} points"
        for entry in record["rule"]["improve"]
    )
    keep = " and ".join(
        f"{_points(entry['loss'])} points of {measure_name(entry['measure'])}"
        for entry in record["rule"]["keep"]
    )
    limit = f", among settings that lose at most {keep}" if keep else ""
    return f"The largest smallest gain over the base counts, of {improve}{limit}."
