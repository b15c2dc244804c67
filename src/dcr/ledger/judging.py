"""The rule of `dcr.ledger.verdicts` on every claim, and Holm's correction for their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dcr.evaluation.comparison import Estimate, estimate, p_value, predict
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import Measured
from dcr.ledger.claims import IMPROVEMENT, SCORE, Claim
from dcr.ledger.evidence import Evidence
from dcr.ledger.verdicts import (
    NOT_MEASURED,
    NOT_REPRODUCED,
    REPRODUCED,
    Decision,
    Stated,
    decide,
)
from dcr.metrics.multiplicity import holm
from dcr.published.tables import Table


@dataclass(frozen=True)
class Entry:
    """A claim and what is said of it.

    Attributes:
        claim: what is published.
        decision: the verdict.
        encoder: what stands for the claim's encoder here, None without one.
        measured: the score or improvement here, None where there is none.
        predicted: bounds of what as many trainings as the published number is of may give, None of
            what was not trained here.
        num_items: on how many items; None if that is not known.
        p_published, p_alternative: p values of the published number, and of that alternative which
            fits best; None where they were not tested.
        survives: whether what the verdict rests on survives Holm's correction.
    """

    claim: Claim
    decision: Decision
    encoder: str | None = None
    measured: Estimate | None = None
    predicted: tuple[float, float] | None = None
    num_items: int | None = None
    p_published: float | None = None
    p_alternative: float | None = None
    survives: bool = False

    @property
    def decisive(self) -> float | None:
        """The p value of what the verdict says is not so, None where it rests on no test."""
        if self.decision.is_exact:
            return None
        tests = {NOT_REPRODUCED: self.p_published, REPRODUCED: self.p_alternative}
        return tests.get(self.decision.verdict)

    @property
    def tests(self) -> list[float]:
        """The p values that were computed."""
        return [p for p in (self.p_published, self.p_alternative) if p is not None]


def judge_claims(claims: Sequence[Claim], evidence: Evidence) -> list[Entry]:
    """Return what is said of each of ``claims``, by ``evidence``, in their order."""
    judges: dict[int, Judge] = {}
    entries = []
    for claim in claims:
        if claim.number not in judges:
            judges[claim.number] = _judge(claim.table, evidence)
        entries.append(_judge_claim(claim, evidence, judges[claim.number]))
    return _correct(entries, 1 - evidence.bootstrap.confidence)


def _judge(table: Table, evidence: Evidence) -> Judge:
    """Return the judge of one table's measure, of which it knows no other."""
    scores = {} if evidence.why_not(table) else evidence.scores(table)
    measurements = {
        name: {table.benchmark: {table.metric: measured}}
        for name, measured in scores.items()
        if np.isfinite(measured.value)
    }
    return Judge(measurements, evidence.bootstrap.confidence, evidence.trained)


def _judge_claim(claim: Claim, evidence: Evidence, judge: Judge) -> Entry:
    sides = [claim.encoder]
    if claim.kind == IMPROVEMENT and claim.base is not None:
        sides = [claim.base, claim.encoder]
    here = [evidence.names.get(side) for side in sides]
    if reason := evidence.why_not(claim.table) or _absence(sides, here, judge):
        return Entry(claim, Decision(NOT_MEASURED, reason))
    names = [name for name in here if name is not None]
    seeds = _measure(claim, names, judge)
    trained = any(judge.is_trained(name) for name in names)
    measured = estimate(seeds, evidence.bootstrap.confidence, trained)
    entry = Entry(
        claim,
        Decision(NOT_MEASURED, ""),
        names[-1],
        measured,
        predict(seeds, evidence.bootstrap.confidence, claim.table.trainings) if trained else None,
        evidence.num_items(claim.table, names[-1]),
    )
    return _decide(entry, seeds)


def _decide(entry: Entry, seeds: Sequence[Measured]) -> Entry:
    """Return an entry with its verdict, and with the tests that it rests on but for one seed."""
    claim, measured = entry.claim, entry.measured
    assert measured is not None
    has_same_items = (
        claim.kind == SCORE
        and measured.num_seeds == 0
        and entry.num_items == claim.table.items is not None
    )
    decision = decide(
        claim.published, claim.alternatives, measured, entry.predicted, has_same_items
    )
    judged = replace(entry, decision=decision)
    return judged if measured.num_seeds == 1 else _test(judged, seeds)


def _measure(claim: Claim, names: Sequence[str], judge: Judge) -> list[Measured]:
    """Return a claim's score of every seed, or its paired difference from the base."""
    table = claim.table
    if claim.kind == SCORE:
        return judge.seeds(names[0], table.benchmark, table.metric)
    return judge.differences(names[0], names[1], table.benchmark, table.metric)


def _absence(sides: Sequence[str], here: Sequence[str | None], judge: Judge) -> str:
    """Return which of a claim's encoders has no score here, and why; "" if all have one."""
    for side, name in zip(sides, here, strict=True):
        if name is None:
            return f"no encoder here stands for {side}"
        if name not in judge.names:
            return (
                f"{side} has no score here"
                if side == name
                else f"{side}, here {name}, has no score"
            )
    return ""


def _test(entry: Entry, seeds: Sequence[Measured]) -> Entry:
    alternatives = [p_of(seeds, one.stated) for one in entry.claim.alternatives]
    return replace(
        entry,
        p_published=p_of(seeds, entry.claim.published, entry.claim.table.trainings),
        p_alternative=max(alternatives) if alternatives else None,
    )


def p_of(seeds: Sequence[Measured], stated: Stated, num_other_seeds: int | None = None) -> float:
    """Return the p value of a measure being what is stated.

    Of all numbers that this may stand for, the one that fits best is taken.

    Args:
        seeds: the measure, or its paired difference, of every seed.
        stated: the number.
        num_other_seeds: of how many other trainings it is the mean; None for the expected value.
    """
    nearest = stated.nearest(float(np.mean([one.value for one in seeds])))
    return p_value(
        [
            replace(one, value=one.value - nearest, replicates=one.replicates - nearest)
            for one in seeds
        ],
        num_other_seeds,
    )


def _correct(entries: Sequence[Entry], alpha: float) -> list[Entry]:
    """Mark the verdicts that survive Holm's correction for all tests of all entries.

    The interval must say the same, as on the other pages (`dcr.evaluation.multiplicity`): where a
    percentile interval and the normal approximation of p disagree, neither is claimed.
    """
    tests = [p for entry in entries for p in entry.tests]
    adjusted = dict(zip(tests, holm(tests), strict=True))  # equal p values are adjusted alike
    return [
        replace(
            entry, survives=bool(entry.decisive is not None and adjusted[entry.decisive] <= alpha)
        )
        for entry in entries
    ]


def ledger_record(entries: Sequence[Entry], confidence: float) -> dict[str, Any]:
    """Return ``entries`` as plain values, fit for JSON.

    Args:
        entries: from `judge_claims`.
        confidence: of the intervals.
    """
    return {
        "confidence": confidence,
        "num_tests": sum(len(entry.tests) for entry in entries),
        "rows": [_row(entry) for entry in entries],
    }


def _row(entry: Entry) -> dict[str, Any]:
    claim, table = entry.claim, entry.claim.table
    return {
        "table": claim.number,
        "source": claim.source.title,
        "place": claim.source.place,
        "title": table.title,
        "note": table.note,
        "benchmark": table.benchmark,
        "metric": table.metric,
        "sets": list(table.sets),
        "rule": table.rule,
        "items": table.items,
        "trainings": table.trainings,
        "kind": claim.kind,
        "encoder": claim.encoder,
        "name": claim.name,
        "base": claim.base,
        "published": asdict(claim.published),
        "alternatives": [{"words": one.words, **asdict(one.stated)} for one in claim.alternatives],
        "here": entry.encoder,
        "measured": None if entry.measured is None else asdict(entry.measured),
        "predicted": None if entry.predicted is None else list(entry.predicted),
        "num_items": entry.num_items,
        "verdict": entry.decision.verdict,
        "reason": entry.decision.reason,
        "p_published": entry.p_published,
        "p_alternative": entry.p_alternative,
        "survives": entry.survives,
    }
