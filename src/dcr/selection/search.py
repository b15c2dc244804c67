"""Tries candidates one after the other; what is done and still fits is not done again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcr.encoder_names import BASE
from dcr.errors import UserError
from dcr.evaluation import EvaluationCache, NamedSet
from dcr.parameters import (
    AlignmentParameters,
    EvaluationParameters,
    SelectionParameters,
    TrainingParameters,
)
from dcr.selection.cost import count_steps, estimate_seconds, hours
from dcr.selection.materials import Materials, evaluate
from dcr.selection.rule import rule_of
from dcr.selection.trial import Outcome, Trial
from dcr.training.fingerprint import run_fingerprint
from dcr.training.runs import shorter_first, stage1_run

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone

Outcomes = Mapping[str, Callable[[], Outcome]]
"""What loads the outcomes that earlier searches left, by candidate."""

_log = logging.getLogger(__name__)


def gather_trials(
    selection: SelectionParameters, training: TrainingParameters, alignment: AlignmentParameters
) -> dict[str, Trial]:
    """Return the candidates by name, ordered so that what they share is trained once.

    Args:
        selection: candidates and seeds. training, alignment: the recipe's sections, which
            candidates change.

    Raises:
        UserError: there is no candidate, or one changes what stage 1 depends on.
    """
    if not selection.candidates:
        raise UserError(
            "parameter 'selection.candidates' is empty: name settings to try; see"
            " conf/base/parameters_selection.yml"
        )
    trials = {}
    for candidate in selection.candidates:
        own = candidate.apply(training, alignment)
        check_stage1(candidate.name, own[0], training)
        trials[candidate.name] = Trial(candidate, *own, selection.seeds)
    return {
        name: trials[name]
        for name in shorter_first({name: trial.runs for name, trial in trials.items()})
    }


def check_stage1(name: str, candidate: TrainingParameters, recipe: TrainingParameters) -> None:
    """Refuse a candidate that changes what stage 1 depends on.

    All of them start from the recipe's projector.

    Args:
        name: of the candidate.
        candidate, recipe: section `training` with the candidate's values, and without them.
    """
    theirs, ours = (
        run_fingerprint(stage1_run(parameters), {}, None) for parameters in (candidate, recipe)
    )
    if changed := [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]:
        raise UserError(
            f"selection.candidates.{name}.training changes {', '.join(sorted(changed))}, on which"
            " stage 1 depends, but candidates share the recipe's stage 1: change it in the recipe,"
            " or leave it out"
        )


def check_measures(
    selection: SelectionParameters,
    sets: Sequence[NamedSet],
    backbone: Backbone,
    evaluation: EvaluationParameters,
    cache: EvaluationCache,
) -> None:
    """Refuse a rule that asks for what the sets do not give; the base tells what they give.

    Args:
        selection: the rule. sets: those that candidates are evaluated on.
        backbone: the base. evaluation, cache: how it is evaluated, and where results are kept.

    Raises:
        UserError: naming the measure, or a set that cannot be read.
    """
    found = evaluate({BASE: lambda: backbone}, sets, evaluation, cache)[BASE]
    known = [f"{result.benchmark}.{metric}" for result in found for metric in result.replicates]
    for measure in rule_of(selection).measures:
        if measure not in known:
            raise UserError(
                f"the rule of section `selection` asks for {measure}, but the sets in"
                f" selection.sets give {', '.join(known)}; name one of these, or the set that"
                " gives it"
            )


def search(
    selection: SelectionParameters,
    trials: Mapping[str, Trial],
    materials: Materials,
    previous: Outcomes,
) -> Iterator[tuple[str, Outcome]]:
    """Yield name and outcome of each candidate that is not done yet, as soon as it is.

    Args:
        selection: seeds and budget, for the log.
        trials: the candidates by name, in the order in which they are tried.
        materials: what all start from; its models must be as they were loaded.
        previous: what loads the outcomes that earlier searches left; those that still fit are done.
    """
    assert materials.hashes  # taken while the models are as they were loaded
    done = {
        name: outcome
        for name, trial in trials.items()
        if (outcome := _fitting(trial, materials, previous))
    }
    finished: list[Path] = [folder for name in done for folder in trials[name].folders(materials)]
    _tell_plan(selection, trials, len(done))
    if done:
        _tell_progress(trials, done)
    for name, trial in trials.items():
        if name not in done:
            before = previous[name]() if name in previous else {}
            done[name] = trial.perform(materials, finished, before)
            yield name, done[name]
            _tell_progress(trials, done)  # by now it is written


def load_outcome(trial: Trial, outcomes: Outcomes) -> Outcome:
    """Return a candidate's outcome.

    Args:
        trial: the candidate as the recipe declares it now. outcomes: what loads each, by name.

    Raises:
        UserError: there is none of the candidate as the recipe declares it.
    """
    name = trial.candidate.name
    outcome = outcomes[name]() if name in outcomes else {}
    made_of = outcome.get("made_of", {})
    if any(made_of.get(key) != value for key, value in trial.made_of_itself.items()):
        raise UserError(
            f"candidate {name} was not tried as the recipe declares it now; run `kedro run"
            " --pipelines selection`"
        )
    return outcome


def _fitting(trial: Trial, materials: Materials, previous: Outcomes) -> Outcome | None:
    """Return the outcome that an earlier search left of the same candidate, else None."""
    name = trial.candidate.name
    if name not in previous:
        return None
    outcome = previous[name]()
    made_of = trial.made_of(materials)
    theirs = outcome.get("made_of", {})
    changed = [key for key in made_of.keys() | theirs.keys() if theirs.get(key) != made_of.get(key)]
    if changed:
        _log.info("candidate %s is tried again: %s changed since", name, ", ".join(sorted(changed)))
    return None if changed else outcome


def _tell_plan(selection: SelectionParameters, trials: Mapping[str, Trial], num_done: int) -> None:
    steps = count_steps(run for trial in trials.values() for run in trial.runs)
    budget = selection.budget_hours
    told = f"took {budget:g} hours when it was last run" if budget else "has not been run before"
    _log.info(
        f"{len(trials)} candidates with {len(selection.seeds)} seeds, {steps:,} steps of stage 2 in"
        f" all; {num_done} candidates are done. By selection.budget_hours the whole search {told}."
    )


def _tell_progress(trials: Mapping[str, Trial], done: Mapping[str, Outcome]) -> None:
    left = [trial.runs for name, trial in trials.items() if name not in done]
    spent = sum(outcome["seconds"] for outcome in done.values())
    expected = estimate_seconds(list(done.values()), left)
    _log.info(
        f"{len(done)} of {len(trials)} candidates are done, in {hours(spent)} hours; the rest will"
        f" take about {hours(expected)} hours."
    )
