"""Claims beside what was measured: paired, by the right set and rule, and corrected for their
number.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dcr.evaluation.measurements import Measured
from dcr.evaluation.several_sets import average_sets
from dcr.ledger.claims import IMPROVEMENT, SCORE, list_claims
from dcr.ledger.evidence import Evidence, Part, combine, count_items
from dcr.ledger.judging import judge_claims, ledger_record, p_of
from dcr.ledger.verdicts import (
    CANNOT_BE_TOLD,
    NOT_MEASURED,
    NOT_REPRODUCED,
    REPRODUCED,
    Stated,
)
from dcr.metrics.bootstrap import Bootstrap
from dcr.published.tables import check_tables
from measured import BOOTSTRAP, constant, mean_of
from published_example import example

NUMBER = 400
HARD = np.arange(NUMBER) % 5 == 0  # 20 %, as the example states of its base
GAINED = HARD | (np.arange(NUMBER) % 30 == 1)  # 3.5 points more


def record(name="mmvp_vlm", benchmarks=("mmvp_vlm",), rule="image_score"):
    rules = {benchmark: {"mean": {"rule": rule, "chance": 0.25}} for benchmark in benchmarks}
    return {"name": name, "benchmarks": list(benchmarks), "rules": rules if rule else {}}


def evidence_of(trained=(), sets=None, counts=None, names=None, **encoders):
    """Return evidence of encoders' means over items, given their answers."""
    measured = {
        name: {"mmvp_vlm": {"mean": own if isinstance(own, Measured) else mean_of(own)}}
        for name, own in encoders.items()
    }
    return Evidence(
        measured,
        frozenset(trained),
        [record()] if sets is None else sets,
        counts or {},
        names or {name: name for name in ("plain", "sharp")},
        BOOTSTRAP,
    )


def judged(evidence, values=None):
    tables = check_tables(values or example(), "published.yml")
    return {(e.claim.encoder, e.claim.kind): e for e in judge_claims(list_claims(tables), evidence)}


def stating(**values):
    changed = example()
    changed["tables"][0]["values"] = values
    return changed


def test_an_improvement_is_judged_by_its_paired_interval():
    """The two scores' own intervals hold each other's; the paired one leaves out no change."""
    gain = 100 * (GAINED.mean() - HARD.mean())
    values = stating(plain=20.0, sharp=round(20.0 + gain, 1))
    entries = judged(evidence_of(plain=HARD, sharp=GAINED), values)
    improvement = entries["sharp", IMPROVEMENT]
    assert improvement.decision.verdict == REPRODUCED
    assert improvement.measured.value == pytest.approx(GAINED.mean() - HARD.mean())
    assert improvement.measured.low > 0
    assert entries["sharp", SCORE].decision.verdict == CANNOT_BE_TOLD
    width = entries["sharp", SCORE].measured.high - entries["sharp", SCORE].measured.low
    assert improvement.measured.high - improvement.measured.low < 0.75 * width


def test_an_unpaired_answer_of_the_same_rate_cannot_be_told():
    shuffled = np.random.default_rng(0).permutation(GAINED)
    gain = 100 * (GAINED.mean() - HARD.mean())
    values = stating(plain=20.0, sharp=round(20.0 + gain, 1))
    entries = judged(evidence_of(plain=HARD, sharp=shuffled[:NUMBER]), values)
    wide = entries["sharp", IMPROVEMENT].measured
    paired = judged(evidence_of(plain=HARD, sharp=GAINED), values)["sharp", IMPROVEMENT].measured
    assert wide.value == pytest.approx(paired.value)
    assert wide.high - wide.low > 1.3 * (paired.high - paired.low)


@pytest.mark.parametrize(
    ("counts", "items", "trained", "is_exact"),
    [
        ({("plain", "mmvp_vlm"): 135}, 135, (), True),
        ({("plain", "mmvp_vlm"): 134}, 135, (), False),
        ({}, 135, (), False),
        ({("plain", "mmvp_vlm"): 135}, None, (), False),
        ({("plain", "mmvp_vlm"): 135}, 135, ("plain",), False),
    ],
)
def test_the_same_digits_count_on_as_many_items_of_an_encoder_that_was_not_trained_here(
    counts, items, trained, is_exact
):
    values = stating(plain=20.0, sharp=21.0)
    values["tables"][0]["items"] = items
    names = {"plain": "plain"}
    evidence = evidence_of(trained, counts=counts, names=names, plain=HARD)
    if trained:
        other = mean_of(HARD)
        measured = evidence.measurements | {"plain@1": {"mmvp_vlm": {"mean": other}}}
        evidence = replace(evidence, measurements=measured)
    entry = judged(evidence, values)["plain", SCORE]
    assert entry.decision.is_exact == is_exact
    assert entry.decision.verdict == (REPRODUCED if is_exact else CANNOT_BE_TOLD)


def test_two_pairs_gained_are_the_published_two_and_no_evidence():
    few = np.arange(135) < 27
    more = np.arange(135) < 29
    counts = {("plain", "mmvp_vlm"): 135, ("sharp", "mmvp_vlm"): 135}
    entries = judged(
        evidence_of(counts=counts, plain=few, sharp=more), stating(plain=20.0, sharp=21.5)
    )
    assert entries["plain", SCORE].decision.is_exact
    assert entries["sharp", SCORE].decision.is_exact
    assert entries["sharp", IMPROVEMENT].decision.verdict == CANNOT_BE_TOLD


def test_seeds_of_a_method_stand_together_and_one_has_no_verdict():
    answers = [np.roll(GAINED, 5 * shift) for shift in range(3)]
    several = {f"dcr@{seed}" if seed else "dcr": own for seed, own in enumerate(answers)}
    names = {"plain": "base", "sharp": "dcr"}
    entries = judged(evidence_of(("dcr",), names=names, base=HARD, **several))
    assert entries["sharp", IMPROVEMENT].measured.num_seeds == 3
    assert entries["sharp", IMPROVEMENT].encoder == "dcr"
    assert entries["plain", SCORE].measured.num_seeds == 0
    assert entries["plain", SCORE].predicted is None
    low, high = entries["sharp", IMPROVEMENT].predicted
    found = entries["sharp", IMPROVEMENT].measured
    assert low <= found.low < found.high <= high
    alone = judged(evidence_of(("dcr",), names=names, base=HARD, dcr=GAINED))
    one = alone["sharp", IMPROVEMENT]
    assert one.decision.verdict == CANNOT_BE_TOLD
    assert one.decision.reason == "one training tells nothing of another"
    assert one.tests == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"names": {"plain": "plain"}}, "no encoder here stands for sharp"),
        ({"names": {"plain": "plain", "sharp": "dcr"}}, "sharp, here dcr, has no score"),
        ({"sets": []}, "no evaluation set here is called mmvp_vlm"),
        ({"sets": [record(benchmarks=["probes"])]}, "mmvp_vlm was not scored by mmvp_vlm"),
        ({"sets": [record(benchmarks=["mmvp_vlm/overrides"])]}, "was not scored by mmvp_vlm"),
        (
            {"sets": [record(rule="group_score")]},
            "it is scored by group_score here, and by image_score in the table",
        ),
    ],
)
def test_what_is_not_measured_says_why(changes, words):
    evidence = evidence_of(plain=HARD, sharp=GAINED, **changes)
    entry = judged(evidence)["sharp", IMPROVEMENT]
    assert entry.decision.verdict == NOT_MEASURED
    assert words in entry.decision.reason
    assert entry.measured is None


def test_a_score_that_is_no_number_is_not_measured():
    evidence = evidence_of(plain=constant(float("nan")), sharp=GAINED)
    assert judged(evidence)["plain", SCORE].decision.verdict == NOT_MEASURED


def test_a_mean_over_sets_is_that_of_the_evaluation():
    """The same replicates as `average_sets` gives, so that a table may name any sets of many."""
    from dcr.evaluation.results import Items, Result, score
    from dcr.metrics.embeddings import weighted_mean

    bootstrap = Bootstrap(num_resamples=200, confidence=0.95, seed=0)
    generator = np.random.default_rng(0)
    answers = {name: generator.random(60) < rate for name, rate in (("one", 0.3), ("two", 0.6))}
    results = {
        name: [
            Result(
                "clustering",
                name,
                "clustering",
                **score(
                    lambda counts, own=own: {"nmi": weighted_mean(own, counts)},
                    Items("image", [str(number) for number in range(len(own))]),
                    bootstrap,
                ),
            )
        ]
        for name, own in answers.items()
    }
    (whole,) = average_sets(results, bootstrap)
    parts = {
        f"clustering/{name}": {"nmi": Measured(own.scores["nmi"], own.replicates["nmi"], own.items)}
        for name, (own,) in results.items()
    }
    values = example()
    table = {"benchmark": "clustering", "metric": "nmi", "sets": ["one", "two"], "rule": "NMI"}
    values["tables"][0] |= table
    evidence = Evidence(
        {"plain": parts},
        frozenset(),
        [record(name, [f"clustering/{name}"], rule=None) for name in ("one", "two")],
        {("plain", "clustering/one"): 60, ("plain", "clustering/two"): 60},
        {"plain": "plain"},
        bootstrap,
    )
    entry = judged(evidence, values)["plain", SCORE]
    assert entry.num_items == 120
    assert entry.measured.value == pytest.approx(whole.scores["nmi"])
    assert (entry.measured.low, entry.measured.high) == pytest.approx(whole.intervals["nmi"])
    values["tables"][0]["sets"] = ["one", "two", "three"]
    missing = judged(evidence, values)["plain", SCORE]
    assert missing.decision.reason == "no evaluation set here is called three"


def test_p_values_are_of_what_fits_best_within_the_rounding():
    scores = [mean_of(HARD)]
    assert p_of(scores, Stated(0.25, 0.05)) == pytest.approx(1.0)
    distant, near = (p_of(scores, Stated(0.30, rounding)) for rounding in (0.0, 0.05))
    assert distant < near < 1
    error = np.std(scores[0].replicates)
    from scipy.stats import norm

    assert distant == pytest.approx(2 * norm.sf(0.1 / error), rel=1e-3)


def test_holm_marks_what_survives_and_only_verdicts_that_rest_on_a_test():
    far = judged(evidence_of(plain=np.zeros(NUMBER) == 1, sharp=np.ones(NUMBER) == 1))
    assert far["plain", SCORE].decision.verdict == NOT_REPRODUCED
    assert far["plain", SCORE].survives
    near = judged(evidence_of(plain=HARD, sharp=GAINED), stating(plain=20.0, sharp=22.0))
    assert near["plain", SCORE].decision.verdict == CANNOT_BE_TOLD
    assert not near["plain", SCORE].survives
    counts = {("plain", "mmvp_vlm"): 135}
    exact = judged(evidence_of(counts=counts, plain=HARD))["plain", SCORE]
    assert exact.decision.is_exact
    assert not exact.survives


def test_a_verdict_that_many_tests_would_give_by_chance_does_not_survive():
    """One number is refuted at 3 %; beside many that are right it may be chance."""
    error = float(np.std(mean_of(HARD).replicates))
    wrong = HARD.mean() + 2.2 * error
    alone = stating(plain=100 * wrong)
    alone["tables"][0]["rounding"] = 0.0
    evidence = evidence_of(plain=HARD)
    entry = judged(evidence, alone)["plain", SCORE]
    assert entry.decision.verdict == NOT_REPRODUCED
    assert entry.survives
    tables = alone["tables"]
    tables += [tables[0] | {"title": f"{i}", "values": {"plain": 20.0}} for i in range(4)]
    claims = list_claims(check_tables(alone, "published.yml"))
    first, *others = judge_claims(claims, evidence)
    assert first.decision.verdict == NOT_REPRODUCED
    assert not first.survives
    assert len(others) == 4


def test_the_record_has_each_number_with_source_rule_interval_and_verdict():
    found = judge_claims(
        list_claims(check_tables(example(), "published.yml")),
        evidence_of(plain=HARD, sharp=GAINED),
    )
    told = ledger_record(found, 0.95)
    row = told["rows"][1]
    assert told["num_tests"] == 6
    assert {key: row[key] for key in ("source", "place", "title", "rule", "kind", "encoder")} == {
        "source": "A paper",
        "place": "arXiv 0000.00000",
        "title": "Table 1",
        "rule": "image_score",
        "kind": IMPROVEMENT,
        "encoder": "sharp",
    }
    assert row["measured"]["low"] < row["measured"]["value"] < row["measured"]["high"]
    assert row["published"] == {
        "value": pytest.approx(0.133),
        "rounding": pytest.approx(0.002),
    }
    assert row["verdict"] == NOT_REPRODUCED


def test_parts_are_joined_and_items_counted_once():
    outcomes = pd.DataFrame(
        [("base", "retrieval", item, group, 1.0) for item in "abc" for group in ("text", "image")],
        columns=["encoder", "benchmark", "item", "group", "correct"],
    )
    assert count_items(outcomes) == {("base", "retrieval"): 3}
    assert count_items(outcomes.iloc[:0]) == {}
    own = Part({"base": {}}, [record()], {("base", "a"): 1}, frozenset({"dcr"}))
    other = Part({"sharp": {}}, [record(), record("b", ["zero_shot"])], {("sharp", "a"): 2})
    whole = combine([own, other], {"plain": "base"}, BOOTSTRAP)
    assert list(whole.measurements) == ["base", "sharp"]
    assert [one["name"] for one in whole.sets] == ["mmvp_vlm", "b"]
    assert whole.trained == {"dcr"}
    assert whole.counts == {("base", "a"): 1, ("sharp", "a"): 2}
