"""What an alignment depends on, parameter by parameter, and what its record refuses."""

from types import SimpleNamespace

import pytest
import torch

import belonging
from dcr.alignment.record import check_alignment, check_maps, evaluated_hashes, tell_alignment
from dcr.errors import UserError
from dcr.parameters import AlignmentParameters
from dcr.training.provenance import encoder_hashes
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


NAMES = ("base", "dcr", "naive@2")
MAPS = {name: {"text_map": place * torch.eye(3)} for place, name in enumerate(NAMES, start=1)}
BASE = SimpleNamespace(model=torch.nn.Linear(1, 1))
ADAPTERS = {name: {"lora": place * torch.ones(2)} for place, name in enumerate(NAMES[1:])}
TRAINED = belonging.training_record(parameters(), BASE, ADAPTERS)


def record(form=TEXT, **changes):
    return belonging.alignment_record(belonging.alignment(form, **changes), TRAINED, MAPS)


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
        assert evaluated_hashes(left, none, TRAINED) == encoder_hashes(TRAINED)


def test_each_form_of_each_encoder_has_a_hash_of_its_own():
    """As trained it is that of the training; aligned, the maps count."""
    told, made = record(), encoder_hashes(TRAINED)
    found = evaluated_hashes(told, belonging.alignment(TEXT), TRAINED)
    as_trained = {"base": "base", "dcr_unaligned": "dcr", "naive_unaligned@2": "naive@2"}
    assert {name: found[name] for name in as_trained} == {
        name: made[trained] for name, trained in as_trained.items()
    }
    assert found.keys() - as_trained.keys() == {"base_aligned", "dcr", "naive@2"}
    assert len(set(found.values())) == len(found)
    told["encoders"]["dcr"]["maps_hash"] = "x"
    others = evaluated_hashes(told, belonging.alignment(TEXT), TRAINED)
    assert {name for name in found if found[name] != others[name]} == {"dcr"}


@pytest.mark.parametrize("spoil", ["missing", "other", "empty"])
def test_a_record_that_does_not_tell_of_an_encoder_is_refused(spoil):
    told = record()
    if spoil == "other":
        told["made_from"]["naive@2"] = "x"
    else:
        told["made_from"] = (
            {} if spoil == "empty" else {n: told["made_from"][n] for n in ("base", "dcr")}
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
