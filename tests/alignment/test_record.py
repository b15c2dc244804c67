"""What an alignment depends on, parameter by parameter, and what its record refuses."""

import pytest
import torch

import belonging
from dcr.alignment.record import check_alignment, check_maps, expected_weights, tell_alignment
from dcr.errors import UserError
from dcr.models.backbones.projection import Projection
from dcr.parameters import AlignmentParameters
from training_world import parameters

IMAGE, TEXT, BLEND = "image", "text", "blend"
ALL = {IMAGE, TEXT, BLEND}

# The parameter, another value, and the forms whose result it changes.
TABLE = {
    "form": (None, ALL),  # is one of them itself
    "seed": (7, ALL),
    "max_images": (9, ALL),
    "embedding_batch_size": (3, set()),
    "num_workers": (1, set()),
    "ridges": ([0.5], {IMAGE, BLEND}),
    "shares": ([0.5], {BLEND}),
    "batch_size": (8, {TEXT, BLEND}),
    "learning_rate": (0.5, {TEXT}),
    "weight_decay": (0.5, {TEXT}),
    "steps": (7, {TEXT}),
    "evaluate_every_steps": (7, {TEXT}),
    "closed_form_share": (0.5, {TEXT}),
}


class Model(torch.nn.Module):
    """A model whose text side is one matrix."""

    embed_dim, source = 3, "a model"

    def __init__(self, seed):
        super().__init__()
        self.words = torch.nn.Parameter(
            torch.randn(3, 3, generator=torch.Generator().manual_seed(seed))
        )

    @property
    def model(self):
        return self

    def text_projection(self):
        return Projection.of(self.words, "words")


ENCODERS = {"base": Model(0), "dcr": Model(1), "naive@2": Model(2)}
MAPS = {name: {"text_map": place * torch.eye(3)} for place, name in enumerate(ENCODERS, start=1)}
TRAINED = belonging.training_record(
    parameters(), ENCODERS["base"], {n: ENCODERS[n] for n in ("dcr", "naive@2")}
)


def record(form=TEXT, **changes):
    return belonging.alignment_record(belonging.alignment(form, **changes), ENCODERS, MAPS)


def test_every_parameter_is_in_the_table():
    assert set(TABLE) == set(AlignmentParameters.model_fields)


@pytest.mark.parametrize("name", sorted(set(TABLE) - {"form"}))
@pytest.mark.parametrize("form", sorted(ALL))
def test_a_changed_parameter_is_refused_where_the_result_depends_on_it(name, form):
    value, forms = TABLE[name]
    asked = belonging.alignment(form, **{name: value})
    if form not in forms:
        check_alignment(record(form), asked, TRAINED)
        return
    with pytest.raises(
        UserError, match=rf"alignment ran with alignment\.{name} .*, the recipe says .*{value}"
    ):
        check_alignment(record(form), asked, TRAINED)


def test_with_form_none_no_record_is_looked_at():
    none = belonging.alignment()
    for left in ({}, record(), {"form": "none"}, {"parameters": 3}):
        check_alignment(left, none, TRAINED)
        assert tell_alignment(left, none, "dcr") == {}
        assert expected_weights(left, none, TRAINED) == {
            "base": TRAINED["hashes"]["backbone"],
            **TRAINED["products"]["encoders"],
        }


def test_names_of_both_forms_have_the_hashes_of_the_record():
    told = record()
    hashes = {name: found["hashes"] for name, found in told["encoders"].items()}
    assert expected_weights(told, belonging.alignment(TEXT), TRAINED) == {
        "base": hashes["base"]["encoder"],
        "base_aligned": hashes["base"]["aligned"],
        "dcr": hashes["dcr"]["aligned"],
        "dcr_unaligned": hashes["dcr"]["encoder"],
        "naive@2": hashes["naive@2"]["aligned"],
        "naive_unaligned@2": hashes["naive@2"]["encoder"],
    }


@pytest.mark.parametrize("spoil", ["missing", "other", "empty"])
def test_a_record_that_does_not_tell_of_an_encoder_is_refused(spoil):
    told = record()
    if spoil == "other":
        told["encoders"]["naive@2"]["hashes"]["encoder"] = "x"
    else:
        told["encoders"] = (
            {} if spoil == "empty" else {n: told["encoders"][n] for n in ("base", "dcr")}
        )
    with pytest.raises(
        UserError, match=r"does not tell of the encoder (base|naive@2) .*alignment,evaluation`"
    ):
        check_alignment(told, belonging.alignment(TEXT), TRAINED)


@pytest.mark.parametrize(
    "maps",
    [{}, {"text_map": torch.eye(3)}, {"image_map": 2 * torch.eye(3)}],
    ids=["none", "other", "side"],
)
def test_maps_of_another_alignment_are_refused(maps):
    check_maps(record(), "dcr", MAPS["dcr"])
    with pytest.raises(
        UserError, match=r"alignment of dcr is not the one that alignment.json tells of"
    ):
        check_maps(record(), "dcr", maps)


def test_a_card_tells_form_and_choice():
    told = tell_alignment(record(), belonging.alignment(TEXT), "dcr")
    assert told == {"form": "text", "chosen": {"step": 1, "held_out_loss": 0.5}}
