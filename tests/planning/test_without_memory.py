"""Tensors without memory have shapes, and leave nothing behind."""

import torch
from torch._subclasses.fake_tensor import FakeTensor

from dcr.planning.without_memory import without_memory


def test_a_tensor_larger_than_any_machine_is_multiplied():
    with without_memory():
        large = torch.zeros(10**9, 10**6)
        product = large @ torch.zeros(10**6, 3)
        assert isinstance(product, FakeTensor)
        assert product.shape == (10**9, 3)
        assert product.sum().item() == 0.0
        assert product[:2, 0].tolist() == [0.0, 0.0]


def test_afterwards_tensors_are_tensors_again():
    before = {name: getattr(torch.Tensor, name) for name in ("item", "tolist")}
    swap = torch.utils.swap_tensors
    with without_memory():
        torch.nn.Linear(2, 3).to(torch.bfloat16)
    assert {name: getattr(torch.Tensor, name) for name in before} == before
    assert torch.utils.swap_tensors is swap
    assert torch.tensor([1.5, 2.5]).tolist() == [1.5, 2.5]
    assert torch.tensor(1.5).item() == 1.5
