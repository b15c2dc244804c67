"""Cards are as their data sheets state them."""

import pytest

from dcr.planning.cards import CARDS

BY_NAME = {card.name: card for card in CARDS}


@pytest.mark.parametrize(
    ("name", "with_sparsity"),
    [("A100 80GB", 624), ("H100 SXM", 1979), ("H200 SXM", 1979), ("RTX 4090", 330.4)],
)
def test_dense_peaks_are_half_of_those_of_sparse_matrices(name, with_sparsity):
    assert 2 * BY_NAME[name].bf16_tflops == pytest.approx(with_sparsity, rel=1e-3)


def test_float32_has_a_peak_of_its_own():
    card = BY_NAME["A100 80GB"]
    assert card.peak("bf16") == card.peak("fp16") == 312e12
    assert card.peak("no") == 19.5e12


def test_every_card_names_its_source_and_memory():
    assert {card.memory_gb for card in CARDS} == {24, 48, 80, 141}
    assert all(card.source for card in CARDS)
