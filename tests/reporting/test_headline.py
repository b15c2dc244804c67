"""The headline: detail, class separation and text, each with its interval, and no verdict from
one seed.
"""

from dcr.reporting.headline import headline, select
from measured import comparison

MEASURES = {
    "detail": ["probes.mean"],
    "class separation": ["clustering.between_class_share", "clustering.acc"],
    "text scores": ["zero_shot.acc1", "mmvp_vlm.mean"],
}


def changes(num_seeds=3):
    return [
        comparison("probes.mean", 0.647, 0.665, (0.0104, 0.0252), num_seeds),
        comparison("clustering.acc", 0.77, 0.81, (0.009, 0.071), num_seeds),
        comparison("clustering.between_class_share", 0.688, 0.690, (-0.006, 0.01), num_seeds),
        comparison("zero_shot.acc1", 0.964, 0.932, (-0.05, -0.014), num_seeds),
        comparison("mmvp_vlm.mean", 0.28, 0.28, (-0.01, 0.01), num_seeds),
    ]


def test_it_names_what_rose_fell_and_stayed_within_noise_with_intervals_and_the_number_of_seeds():
    assert (
        headline("DCR", changes(), MEASURES)
        == "DCR over 3 training seeds: detail rose in attribute probes (+1.8, 1.0 to 2.5); class"
        " separation stayed within noise in between-class share (+0.2, −0.6 to 1.0) and rose in"
        " clustering ACC (+4.0, 0.9 to 7.1); text scores fell in zero-shot accuracy (−3.2, −5.0"
        " to −1.4) and stayed within noise in MMVP-VLM (0.0, −1.0 to 1.0)."
    )


def test_one_seed_tells_nothing_of_another_training():
    told = headline("DCR", changes(num_seeds=1)[:1], MEASURES)
    assert (
        told == "One training seed of DCR, which tells nothing of another and has no verdict: "
        "detail moved in attribute probes (+1.8, 1.0 to 2.5)."
    )


def test_an_encoder_that_was_not_trained_here_is_told_of_as_it_is():
    told = headline("siglip", changes(num_seeds=0)[3:4], MEASURES)
    assert told == "siglip, as it is: text scores fell in zero-shot accuracy (−3.2, −5.0 to −1.4)."


def test_without_a_common_measure_there_is_nothing_to_tell():
    assert headline("DCR", [], MEASURES) == "DCR and the base encoder have no measure in common."


def test_measures_are_selected_in_the_order_asked_for_and_absent_ones_left_out():
    found = [comparison("a.x", 0, 0), comparison("b.y", 0, 0)]
    assert [c.key for c in select(found, ["b.y", "c.z", "a.x"])] == ["b.y", "a.x"]
