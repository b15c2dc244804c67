"""Activations and operations of a call, on tensors with and without memory."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from dcr.training.counting import Operations, SavedBytes


def test_saved_activations_are_counted_once_and_weights_not():
    layer = nn.Linear(8, 4, bias=False)
    pixels = torch.randn(16, 8)
    with SavedBytes((layer,)) as saved:
        out = layer(pixels)  # saves its input
        (out.exp() * out).sum()  # saves the exponential, and it and out again
    assert saved.num_bytes == 4 * (16 * 8 + 16 * 4 + 16 * 4)


@pytest.fixture(params=[False, True], ids=["in memory", "fake"])
def tensors(request):
    if not request.param:
        yield
        return
    with FakeTensorMode():
        yield


def test_attention_counts_on_a_cpu_as_it_does_written_out(tensors):
    """Two products forward; backward four, and the scores once more, which it did not keep."""
    query, key, value = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (5, 7, 7))
    product = 2 * 2 * 3 * 5 * 7 * 8
    with Operations() as counter:
        out = F.scaled_dot_product_attention(query, key, value)
    assert counter.total == 2 * product
    with Operations() as counter:
        out.sum().backward()
    assert counter.total == 5 * product
    with Operations() as counter:
        (((query @ key.mT) * 8**-0.5).softmax(-1) @ value).sum().backward()
    assert counter.total == 6 * product


def test_the_rest_counts_as_pytorch_counts_it(tensors):
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))
    pixels = torch.randn(2, 3, 8, 8)
    with FlopCounterMode(display=False) as expected, Operations() as counter:
        layers(pixels).sum().backward()
    assert counter.total == expected.get_total_flops() > 0


def test_what_attention_saves_counts_on_tensors_without_memory_as_on_others():
    found = []
    for mode in (torch.enable_grad(), FakeTensorMode()):
        with mode:
            layer = nn.Linear(8, 8)
            pixels = torch.randn(4, 6, 8)
            with SavedBytes((layer,)) as saved:
                heads = layer(pixels).unflatten(-1, (2, 4)).transpose(1, 2)
                F.scaled_dot_product_attention(heads, heads, heads).exp()
            found.append(saved.num_bytes)
    assert found[0] == found[1] > 0
