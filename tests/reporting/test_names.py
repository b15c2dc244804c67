"""Words for encoders, whatever their form and seed."""

import pytest

from dcr.reporting.names import benchmark_name, encoder_name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("base", "Base"),
        ("base_aligned", "Base, aligned"),
        ("dcr", "DCR"),
        ("dcr_unaligned", "DCR, as trained"),
        ("dcr_unaligned@3", "DCR, as trained, seed 3"),
        ("reconstruction_same_compute", "Reconstruction, same compute"),
        ("dcr_pure_unaligned@1", "DCR, pure, as trained, seed 1"),
        ("my_encoder", "my_encoder"),
        ("dcrx_pure", "dcrx_pure"),
    ],
)
def test_an_encoder_is_told_in_words(name, words):
    assert encoder_name(name) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mmvp_vlm", "MMVP-VLM"),
        ("mmvp_vlm/photos", "MMVP-VLM: photos"),
        ("mmvp_vlm/overrides", "MMVP-VLM, with overrides"),
        ("mmvp_vlm/photos+overrides", "MMVP-VLM: photos, with overrides"),
        ("mmvp_vlm/my_overrides", "MMVP-VLM: my_overrides"),
    ],
)
def test_a_benchmark_is_told_with_its_set_and_overrides(name, words):
    assert benchmark_name(name) == words
