"""The recipe's signal and source of positives become what the methods take, or an error that
says what to change.
"""

from typing import get_args

import pytest

from dcr.errors import UserError
from dcr.losses.dcl import DCL
from dcr.losses.mochi import MoCHi
from dcr.losses.signals import FEATURE_SIGNALS, SIGNALS
from dcr.parameters import TrainingParameters
from dcr.parameters.signals import SignalName
from dcr.positives.neighbours import Resampler, Rule
from dcr.training.contrast import ContrastOptions
from dcr.training.fingerprint import run_fingerprint
from dcr.training.options import build_signal, contrast_options
from dcr.training.runs import STAGE1
from training_world import parameters, run_of


def test_recipes_may_name_every_signal():
    assert set(get_args(SignalName)) == SIGNALS.keys() | FEATURE_SIGNALS.keys()
    assert get_args(TrainingParameters.model_fields["clip_neighbour_rule"].annotation) == get_args(
        Rule
    )


@pytest.mark.parametrize("name", [*SIGNALS, *FEATURE_SIGNALS])
def test_the_demos_recipe_has_every_signals_numbers(name):
    assert isinstance(build_signal(parameters(signal=name)), (SIGNALS | FEATURE_SIGNALS)[name])


def test_a_signal_takes_its_own_numbers():
    assert build_signal(parameters(signal="dcl", dcl_temperature=0.3)) == DCL(0.3)
    assert build_signal(parameters(signal="mochi", mochi_num_mixed=3)) == MoCHi(0.2, 8, 3, 4)


def test_the_demo_trains_dcrs_own_contrast():
    assert contrast_options(run_of(parameters(), "dcr")) == ContrastOptions(diagnostics=True)
    assert contrast_options(run_of(parameters(), "naive")) == ContrastOptions(diagnostics=True)
    assert contrast_options(run_of(parameters(), "dcr")).is_own


def test_reconstruction_contrasts_nothing():
    asked = parameters(signal="dcl", positives="synthetic", contrast_diagnostics=True)
    assert contrast_options(run_of(asked, "reconstruction")) == ContrastOptions()
    assert contrast_options(run_of(asked, STAGE1)) == ContrastOptions()


def test_neighbours_and_made_positives_are_for_stage_2():
    asked = parameters(positives="clip_neighbour", stage1_loss="dcr", clip_neighbour_share=0.2)
    assert contrast_options(run_of(asked, "dcr")).resampler == Resampler("add_new_positive", 0.2)
    assert contrast_options(run_of(asked, STAGE1)).resampler is None
    asked = parameters(positives="synthetic", stage1_loss="dcr", synthetic_weight=0.5)
    assert contrast_options(run_of(asked, "dcr")).synthetic_weight == 0.5
    assert contrast_options(run_of(asked, STAGE1)).synthetic_weight == 0.0


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        ({"signal": "mochi"}, "dcr", "works on image features: set training.method to naive"),
        ({"signal": "mochi", "positives": "clip_neighbour"}, "naive", "which mochi does not take"),
        (
            {"signal": "dcl", "target_weight": 0.4},
            "dcr",
            r"signal dcl does not go with training.target_weight 0\.4",
        ),
        (
            {"signal": "hcl", "negatives_count": 2},
            "dcr",
            "does not go with training.negatives_count 2: set it to 0",
        ),
        (
            {"positives": "clip_neighbour", "negatives_gradient": False},
            "dcr",
            "clip_neighbour does not go with",
        ),
        (
            {"positives": "synthetic", "published_loss": True},
            "dcr",
            "published_loss true: set it to false",
        ),
        ({"positives": "clip_neighbour", "num_views": 2}, "naive", "set training.num_views to 1"),
        (
            {"positives": "clip_neighbour", "signal": "polyview"},
            "naive",
            "does not go with training.signal polyview",
        ),
        ({"positives": "clip_neighbour", "stage2_train_batch_size": 2}, "dcr", "of at least 3"),
        (
            {"signal": "focal", "focal_gamma": 0.5},
            "dcr",
            r"training\.focal_\*: gamma must be 0 or at least 1",
        ),
    ],
)
def test_what_has_no_meaning_together_is_refused(changes, name, sentence):
    with pytest.raises(UserError, match=sentence):
        contrast_options(run_of(parameters(**changes), name))


def test_two_signals_with_equal_numbers_are_two_runs():
    def fingerprint(name, **changes):
        return run_fingerprint(run_of(parameters(**changes), name), {}, {})

    assert fingerprint("dcr", signal="dcl") != fingerprint("dcr", signal="polyview")
    assert fingerprint("dcr", signal="dcl") != fingerprint("dcr", signal="dcl", dcl_temperature=0.2)
    assert fingerprint("dcr") != fingerprint("dcr", signal="dcl")
    assert fingerprint("reconstruction") == fingerprint("reconstruction", signal="dcl")
    assert fingerprint(STAGE1) == fingerprint(STAGE1, signal="dcl")


def test_a_run_is_another_if_its_result_is():
    """Rounding apart: compiled blocks draw LoRA's dropout in their own way."""
    plain = run_fingerprint(run_of(parameters(), "dcr"), {}, {})
    assert run_fingerprint(run_of(parameters(compile=True), "dcr"), {}, {}) != plain
    for changes in (
        {"rows_per_chunk": 1},
        {"sharding": "fsdp2"},
        {"contrast_diagnostics": True},
        {"report_to": []},
    ):
        assert run_fingerprint(run_of(parameters(**changes), "dcr"), {}, {}) == plain
