import re

import pytest

from dcr.encoder_names import (
    METHOD_PATTERN,
    EncoderName,
    aligned_name,
    group_seeds,
    run_name,
    split_run,
    unaligned_name,
)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("base", EncoderName("base")),
        ("dcr", EncoderName("dcr")),
        ("dcr@2", EncoderName("dcr", seed=2)),
        ("end_to_end_unaligned", EncoderName("end_to_end", "_unaligned")),
        ("dcr_unaligned@11", EncoderName("dcr", "_unaligned", 11)),
        ("base_aligned", EncoderName("base", "_aligned")),
        ("a@b", EncoderName("a@b")),
    ],
)
def test_a_name_and_its_parts_are_one(name, parts):
    assert EncoderName.parse(name) == parts
    assert str(parts) == name


@pytest.mark.parametrize(
    ("run", "parts", "encoder"),
    [
        ("dcr", ("dcr", None, None), "dcr"),
        ("dcr.2", ("dcr", 2, None), "dcr"),
        ("dcr@1", ("dcr", None, 1), "dcr@1"),
        ("detail_first.10@3", ("detail_first", 10, 3), "detail_first@3"),
    ],
)
def test_a_run_is_a_phase_of_an_encoder(run, parts, encoder):
    assert run_name(*parts) == run
    assert split_run(run) == (encoder, parts[1])


def test_seeds_of_a_method_stand_together_its_own_first_in_the_order_of_the_methods():
    names = ["base", "dcr@3", "dcr", "dcr_unaligned@3", "naive", "dcr_unaligned", "dcr@4"]

    assert group_seeds(names) == {
        "base": ["base"],
        "dcr": ["dcr", "dcr@3", "dcr@4"],
        "dcr_unaligned": ["dcr_unaligned", "dcr_unaligned@3"],
        "naive": ["naive"],
    }


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("dcr", True),
        ("dcr_pure", True),
        ("base", False),
        ("x_aligned", False),
        ("x_unaligned", False),
        ("x@1", False),
    ],
)
def test_a_method_may_be_called_what_can_be_told_apart(name, fits):
    assert bool(re.fullmatch(METHOD_PATTERN, name)) is fits


@pytest.mark.parametrize(
    ("name", "aligned", "unaligned"),
    [
        ("base", "base_aligned", "base"),
        ("dcr", "dcr", "dcr_unaligned"),
        ("dcr@2", "dcr@2", "dcr_unaligned@2"),
    ],
)
def test_the_product_keeps_its_name_and_so_does_the_base(name, aligned, unaligned):
    assert (aligned_name(name), unaligned_name(name)) == (aligned, unaligned)
