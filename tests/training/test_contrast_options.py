"""The recipe's signal and source of positives become what the methods take, or an error that
says what to change.
"""

from typing import get_args

import pytest

from dcr.errors import UserError
from dcr.losses.dcl import DCL
from dcr.losses.mochi import MoCHi
from dcr.losses.signals import FEATURE_SIGNALS, SIGNALS
from dcr.parameters.training.parts import Positives
from dcr.positives.neighbours import Resampler, Rule
from dcr.training.contrast import Contrast, build_contrast
from dcr.training.fingerprint import run_fingerprint
from dcr.training.runs import STAGE1
from training_world import parameters, run_of


def test_recipes_may_name_every_rule_of_neighbours():
    assert get_args(Positives.model_fields["clip_neighbour_rule"].annotation) == get_args(Rule)


@pytest.mark.parametrize("name", [*SIGNALS, *FEATURE_SIGNALS])
def test_every_signal_has_its_published_numbers_in_its_own_file(name):
    built = parameters(**{"signal.name": name}).signal.build(0.1)
    assert isinstance(built, (SIGNALS | FEATURE_SIGNALS)[name])


def test_a_signal_takes_its_own_numbers():
    dcl = parameters(**{"signal.name": "dcl", "signal.temperature": 0.3}).signal
    assert dcl.build(0.1) == DCL(0.3)
    mochi = parameters(**{"signal.name": "mochi", "signal.num_mixed": 3}).signal
    assert mochi.build(0.1) == MoCHi(0.2, 8, 3, 4)


def test_the_demo_trains_dcrs_own_contrast():
    assert build_contrast(run_of(parameters(), "dcr")) == Contrast(diagnostics=True)
    assert build_contrast(run_of(parameters(), "naive")) == Contrast(diagnostics=True)
    assert build_contrast(run_of(parameters(), "dcr")).is_own


def test_reconstruction_contrasts_nothing():
    asked = parameters(
        **{
            "signal.name": "dcl",
            "positives.source": "synthetic",
            "monitoring.contrast_diagnostics": True,
        }
    )
    assert build_contrast(run_of(asked, "reconstruction")) == Contrast()
    assert build_contrast(run_of(asked, STAGE1)) == Contrast()


def test_neighbours_and_made_positives_are_for_stage_2():
    asked = parameters(
        **{
            "positives.source": "clip_neighbour",
            "stage1.loss": "dcr",
            "positives.clip_neighbour_share": 0.2,
        }
    )
    assert build_contrast(run_of(asked, "dcr")).resampler == Resampler("add_new_positive", 0.2)
    assert build_contrast(run_of(asked, STAGE1)).resampler is None
    asked = parameters(
        **{"positives.source": "synthetic", "stage1.loss": "dcr", "positives.synthetic_weight": 0.5}
    )
    assert build_contrast(run_of(asked, "dcr")).synthetic_weight == 0.5
    assert build_contrast(run_of(asked, STAGE1)).synthetic_weight == 0.0


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        ({"signal.name": "mochi"}, "dcr", "works on image features: set training.method to naive"),
        (
            {"signal.name": "mochi", "positives.source": "clip_neighbour"},
            "naive",
            "which mochi does not take",
        ),
        (
            {"signal.name": "dcl", "loss.target_weight": 0.4},
            "dcr",
            r"signal.name dcl does not go with training.loss.target_weight 0\.4",
        ),
        (
            {"signal.name": "hcl", "batches.negatives_count": 2},
            "dcr",
            "does not go with training.batches.negatives_count 2: set it to 0",
        ),
        (
            {"positives.source": "clip_neighbour", "loss.negatives_gradient": False},
            "dcr",
            "clip_neighbour does not go with",
        ),
        (
            {"positives.source": "synthetic", "published": ["loss"]},
            "dcr",
            "part loss of training.published: leave it out",
        ),
        (
            {"positives.source": "clip_neighbour", "batches.num_views": 2},
            "naive",
            "set training.batches.num_views to 1",
        ),
        (
            {"positives.source": "clip_neighbour", "signal.name": "polyview"},
            "naive",
            "does not go with training.signal.name polyview",
        ),
        (
            {"positives.source": "clip_neighbour", "stage2.train_batch_size": 2},
            "dcr",
            "of at least 3",
        ),
    ],
)
def test_what_has_no_meaning_together_is_refused(changes, name, sentence):
    with pytest.raises(UserError, match=sentence):
        build_contrast(run_of(parameters(**changes), name))


def test_two_signals_with_equal_numbers_are_two_runs():
    def fingerprint(name, **changes):
        return run_fingerprint(run_of(parameters(**changes), name), {}, {})

    assert fingerprint("dcr", **{"signal.name": "dcl"}) != fingerprint(
        "dcr", **{"signal.name": "polyview"}
    )
    assert fingerprint("dcr", **{"signal.name": "dcl"}) != fingerprint(
        "dcr", **{"signal.name": "dcl", "signal.temperature": 0.2}
    )
    assert fingerprint("dcr") != fingerprint("dcr", **{"signal.name": "dcl"})
    assert fingerprint("reconstruction") == fingerprint("reconstruction", **{"signal.name": "dcl"})
    assert fingerprint(STAGE1) == fingerprint(STAGE1, **{"signal.name": "dcl"})


def test_a_run_is_another_if_its_result_is():
    """Rounding apart: compiled blocks draw LoRA's dropout in their own way."""
    plain = run_fingerprint(run_of(parameters(), "dcr"), {}, {})
    assert run_fingerprint(run_of(parameters(compile=True), "dcr"), {}, {}) != plain
    for changes in (
        {"execution.rows_per_chunk": 1},
        {"processes.sharding": "fsdp2"},
        {"monitoring.contrast_diagnostics": True},
        {"monitoring.report_to": []},
    ):
        assert run_fingerprint(run_of(parameters(**changes), "dcr"), {}, {}) == plain
