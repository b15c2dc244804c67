"""The one judge: paired by item and by seed, and no verdict from one seed."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark_folders import ColourBackbone, write_classification, write_mmvp, write_retrieval
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.evaluation import NamedSet, evaluate_encoders
from dcr.evaluation.comparison import (
    Estimate,
    comparison_records,
    estimate,
    judge,
    read_comparisons,
)
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import measure, measurements_table, read_measurements
from dcr.metrics.bootstrap import percentile_interval
from evaluation_options import quick_options
from measured import constant, mean_of, measurements

GENERATOR = np.random.default_rng(0)
HARD = np.arange(400) % 2
BETTER_BY_20 = np.where((np.arange(400) < 40) & (np.arange(400) % 2 == 0), 1, HARD)
KEY = "zero_shot.acc1"


def compare(found, before="base", after="dcr", trained=("dcr", "reconstruction"), confidence=0.95):
    return Judge(found, confidence, trained).compare(before, after)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.01, 0.1), "better"),
        ((-0.1, -0.01), "worse"),
        ((-0.01, 0.1), "within noise"),
        ((0.0, 0.1), "within noise"),
        ((0.0, 0.0), "within noise"),
        ((np.nan, np.nan), "within noise"),
    ],
)
def test_a_difference_counts_only_when_its_interval_leaves_out_zero(interval, verdict):
    assert judge(Estimate(0.05, *interval, num_seeds=3)) == verdict
    assert judge(Estimate(0.05, *interval, num_seeds=0)) == verdict  # nothing was trained
    assert judge(Estimate(0.05, *interval, num_seeds=1)) == "one seed"


def test_a_distance_is_higher_or_lower_never_better():
    found = measurements(
        "text_alignment.modality_gap", base=constant(0.5), more=constant(0.7), less=constant(0.4)
    )
    assert [compare(found, after=name, trained=())[0].verdict for name in ("more", "less")] == [
        "higher",
        "lower",
    ]


def test_answers_are_paired_by_item_so_that_a_small_sure_change_is_seen():
    found = measurements(KEY, base=mean_of(HARD), other=mean_of(BETTER_BY_20))
    (comparison,) = compare(found, after="other")
    difference = comparison.difference
    assert difference.value == pytest.approx(0.05)
    assert comparison.verdict == "better"
    # The two encoders' own intervals overlap nevertheless.
    assert comparison.before.high > comparison.after.low
    error = np.sqrt(0.05 * 0.95 / 400)
    assert (difference.low, difference.high) == pytest.approx(
        (0.05 - 1.96 * error, 0.05 + 1.96 * error), abs=0.006
    )


def test_equal_encoders_differ_by_nothing():
    (comparison,) = compare(measurements(KEY, base=mean_of(HARD), dcr=mean_of(HARD)), trained=())
    assert comparison.difference == Estimate(0.0, 0.0, 0.0, 0)
    assert comparison.verdict == "within noise"


def test_a_method_is_the_mean_over_its_seeds_and_its_interval_is_over_seeds_and_items():
    answers = {name: (GENERATOR.random(400) < rate).astype(float) for name, rate in
               (("dcr", 0.60), ("dcr@1", 0.64), ("dcr@2", 0.56))}  # fmt: skip
    found = measurements(
        KEY, base=mean_of(HARD), **{name: mean_of(own) for name, own in answers.items()}
    )
    (comparison,) = compare(found)
    by_seed = [own.mean() - 0.5 for own in answers.values()]
    seeds_error = stats.sem(by_seed)
    draws = (
        np.mean([mean_of(own).replicates for own in answers.values()], axis=0)
        - mean_of(HARD).replicates
    )
    error = np.hypot(seeds_error, draws.std())
    reach = stats.t.ppf(0.975, 2 * error**4 / seeds_error**4) * error
    difference = comparison.difference
    assert difference.value == pytest.approx(np.mean(by_seed))
    assert (difference.high - difference.low) / 2 == pytest.approx(reach, rel=1e-4)
    assert (difference.num_seeds, comparison.after.num_seeds, comparison.before.num_seeds) == (
        3,
        3,
        0,
    )
    assert difference.deviation == pytest.approx(np.std(by_seed, ddof=1))
    assert comparison.after.value == pytest.approx(
        np.mean([own.mean() for own in answers.values()])
    )


def test_one_seed_has_an_interval_over_items_and_no_verdict():
    (comparison,) = compare(measurements(KEY, base=mean_of(HARD), dcr=mean_of(BETTER_BY_20)))
    assert comparison.verdict == "one seed"
    paired = mean_of(BETTER_BY_20).replicates - mean_of(HARD).replicates
    assert (comparison.difference.low, comparison.difference.high) == percentile_interval(
        paired, 0.95
    )


def test_two_methods_are_paired_on_the_seeds_that_both_have():
    """Seeds differ far more than methods do: only pairing sees that the second is better by
    0.02.
    """
    found = measurements(
        KEY,
        **{
            "reconstruction": constant(0.5),
            "reconstruction@1": constant(0.6),
            "reconstruction@2": constant(0.7),
        },
        **{
            "dcr": constant(0.52),
            "dcr@1": constant(0.621),
            "dcr@2": constant(0.719),
            "dcr@7": constant(0.9),
        },
    )
    (comparison,) = compare(found, before="reconstruction")
    expected = stats.ttest_1samp([0.02, 0.021, 0.019], 0).confidence_interval(0.95)
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx(
        tuple(expected), abs=1e-6
    )
    assert comparison.difference.num_seeds == 3
    assert comparison.verdict == "better"


def test_an_encoder_as_trained_is_compared_with_the_same_aligned_seed_by_seed():
    found = measurements(
        KEY,
        **{"base": constant(0.9), "base_aligned": constant(0.91), "dcr_unaligned": constant(0.8)},
        **{"dcr_unaligned@1": constant(0.7), "dcr": constant(0.88), "dcr@1": constant(0.78)},
    )
    judge = Judge(found, 0.95, {"dcr"})
    assert judge.names == ["base", "base_aligned", "dcr_unaligned", "dcr"]
    (change,) = judge.compare("dcr_unaligned", "dcr")
    assert (change.difference.value, change.verdict) == (pytest.approx(0.08), "better")
    (of_base,) = judge.compare("base", "base_aligned")
    assert (of_base.difference.num_seeds, of_base.verdict) == (0, "better")


def test_methods_without_a_common_seed_are_not_compared():
    found = measurements(KEY, **{"dcr@1": constant(0.5), "reconstruction@2": constant(0.5)})
    with pytest.raises(UserError, match="dcr and reconstruction share no training seed"):
        compare(found, before="dcr", after="reconstruction")


def test_scores_of_other_items_are_refused_not_compared_unpaired():
    with pytest.raises(
        UserError, match=r"two scores are of other items.*`kedro run --pipelines evaluation`"
    ):
        compare(measurements(KEY, base=mean_of(HARD), dcr=mean_of(HARD, items="other images")))
    with pytest.raises(UserError, match="other items"):
        estimate([constant(0.5, "a"), constant(0.6, "b")], 0.95)


def test_a_measure_that_one_seed_lacks_is_that_of_the_others():
    found = measurements(KEY, base=constant(0.5), dcr=constant(0.6), **{"dcr@1": constant(0.7)})
    found["dcr@2"] = {}
    (comparison,) = compare(found)
    assert (comparison.difference.num_seeds, comparison.difference.value) == (
        2,
        pytest.approx(0.15),
    )
    assert compare({**found, "dcr": {}, "dcr@1": {}}) == []


def test_an_encoder_without_scores_is_named_with_the_step_that_makes_them():
    with pytest.raises(
        UserError, match=r"encoder 'naive' are missing \(there are base\); run `kedro run"
    ):
        compare({"base": {}}, after="naive")


def test_comparisons_are_the_same_after_a_way_through_json():
    found = compare(
        measurements(KEY, base=mean_of(HARD), dcr=mean_of(BETTER_BY_20), **{"dcr@1": mean_of(HARD)})
    )
    records = json.loads(json.dumps(comparison_records(found)))
    assert records["zero_shot"]["acc1"]["verdict"] == found[0].verdict
    assert read_comparisons(records) == found


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    """Results of two encoders of which the second takes some colours for others, on two sets of
    each kind.
    """
    folder = tmp_path_factory.mktemp("sets")
    writers = {
        "mmvp_vlm": write_mmvp,
        "classification": write_classification,
        "retrieval": write_retrieval,
    }
    sets = []
    for kind, write in writers.items():
        for name in (f"{kind}_a", f"{kind}_b"):
            write(folder / name)
            sets.append(NamedSet(name, kind, lambda name=name: open_set(folder / name)))

    class Confused(ColourBackbone):
        def encode_image(self, pixels):
            features = super().encode_image(pixels)
            return features + 0.8 * features.roll(1, dims=1)

    encoders = {"base": ColourBackbone, "dcr": Confused}
    return evaluate_encoders(
        encoders, sets, quick_options(compare_features=True, num_compared_neighbours=3)
    )[0]


def test_every_measure_of_every_benchmark_has_a_paired_interval(evaluations):
    found = {c.key: c.difference for c in compare(measure(evaluations), trained=())}
    assert set(found) == {
        f"{r.benchmark}.{metric}" for r in evaluations["base"] for metric in r.scores
    }
    assert {
        "clustering.nmi",
        "clustering.between_class_share",
        "zero_shot/classification_a.acc5",
        "linear_probe.knn_acc1",
        "retrieval.image_retrieval_recall@5",
        "mmvp_alignment/mmvp_vlm_b.modality_gap",
    } <= set(found)
    assert all(difference.low <= difference.high for difference in found.values())


def test_a_mean_over_items_has_the_paired_interval_of_its_answers(evaluations):
    """By a loop over resamples of the items that both encoders answered."""
    (found,) = (
        c
        for c in compare(measure(evaluations), trained=())
        if c.key == "zero_shot/classification_a.acc1"
    )
    first, second = (
        {item: correct for item, _, correct in result.outcomes}
        for results in evaluations.values()
        for result in results
        if result.benchmark == "zero_shot/classification_a"
    )
    changes = np.array([second[item] - first[item] for item in first])
    draws = quick_options().bootstrap.draw(len(changes))
    means = [np.mean(np.repeat(changes, counts.astype(int))) for chunk in draws for counts in chunk]
    assert (found.difference.low, found.difference.high) == pytest.approx(
        percentile_interval(means, 0.95), abs=1e-6
    )


def test_pairs_of_mmvp_are_drawn_within_their_type(evaluations):
    (found,) = (
        c for c in compare(measure(evaluations), trained=()) if c.key == "mmvp_vlm/mmvp_vlm_a.mean"
    )
    first, second = (
        pd.DataFrame(result.outcomes, columns=["item", "type", "correct"])
        for results in evaluations.values()
        for result in results
        if result.benchmark == "mmvp_vlm/mmvp_vlm_a"
    )
    changes, types = second.correct - first.correct, first.type
    means = []
    for chunk in quick_options().bootstrap.draw(len(changes), types):
        for counts in chunk:
            by_type = [
                np.average(changes[types == t], weights=counts[types == t]) for t in types.unique()
            ]
            means.append(np.mean(by_type))
    assert (found.difference.low, found.difference.high) == pytest.approx(
        percentile_interval(means, 0.95), abs=1e-6
    )


def test_measurements_are_the_same_after_a_way_through_parquet(evaluations, tmp_path):
    found = measure(evaluations)
    measurements_table(found).to_parquet(tmp_path / "m.parquet")
    read = read_measurements(pd.read_parquet(tmp_path / "m.parquet"))
    assert read.keys() == found.keys()
    for encoder, benchmark, metric in (
        ("dcr", "clustering", "nmi"),
        ("base", "retrieval/retrieval_b", "image_retrieval_recall@1"),
    ):
        one, other = (side[encoder][benchmark][metric] for side in (found, read))
        assert (one.value, one.items) == (other.value, other.items)
        np.testing.assert_array_equal(one.replicates, other.replicates)
    assert compare(read) == compare(found)
    assert read_measurements(measurements_table({})) == {}
