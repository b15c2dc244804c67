"""Words for encoders, whatever their form and seed."""

import pytest

from dcr.reporting.names import encoder_name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("base", "Base"),
        ("base_aligned", "Base, aligned"),
        ("dcr", "DCR"),
        ("dcr_unaligned", "DCR, as trained"),
        ("dcr_unaligned@3", "DCR, as trained, seed 3"),
        ("my_encoder", "my_encoder"),
    ],
)
def test_an_encoder_is_told_in_words(name, words):
    assert encoder_name(name) == words
