"""Gated layers as two products: diffusers' layer is what they must equal."""

from collections import Counter

import pytest
import torch
from diffusers.models.activations import GEGLU
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dcr.training.counting import Operations, SavedBytes
from dcr.training.unet.gates import SplitGEGLU, split_gates
from diffusion_models import CROSS_ATTENTION_DIM, tiny_unet
from models import randomize
from training_world import open_micro_step, write_world

WIDTH, OUT = 6, 24


class Calls(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self):
        super().__init__()
        self.names = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names[func.overloadpacket.__name__] += 1
        return func(*args, **kwargs or {})


def layers(bias=True):
    """Return diffusers' layer, and it in a model that was split."""
    torch.manual_seed(0)
    own = GEGLU(WIDTH, OUT, bias=bias).double().requires_grad_(False)
    model = nn.Sequential(own)
    split_gates(model)
    return own, model[0]


def passes(layer):
    """Return output and gradient of one pass, copies, operations, and what autograd kept."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(3, 5, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
    upstream = torch.randn(3, 5, OUT, generator=generator, dtype=torch.float64)
    with Calls() as calls, Operations() as operations, SavedBytes((layer,)) as saved:
        output = layer(inputs)
        (gradient,) = torch.autograd.grad(output, inputs, upstream)
    return (output, gradient), calls.names["cat"], operations.total, saved.num_bytes


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_output_and_gradient_are_the_layers_without_a_copy(bias):
    own, split = layers(bias)
    (expected, copies, *cost), (found, none, *own_cost) = passes(own), passes(split)
    assert_same(found, expected)
    assert (copies, none) == (1, 0)
    assert own_cost == cost  # operations, and bytes that are kept


def test_compiled_code_takes_the_layers_own_way():
    graphs = []

    def run_as_traced(graph, _):
        graphs.append(graph)
        return graph.forward

    own, split = layers()
    inputs = torch.ones(1, 2, WIDTH, dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(split, backend=run_as_traced, fullgraph=True)
    assert torch.equal(compiled(inputs), own(inputs))
    assert str(graphs[0].graph).count("torch._C._nn.linear") == 1


class OwnLinear(nn.Linear):
    """Computes in its own way, for all that is known."""


def test_a_projection_that_is_not_plainly_linear_stays_whole():
    own = GEGLU(WIDTH, OUT)
    own.proj = OwnLinear(WIDTH, 2 * OUT)
    model = nn.Sequential(own)
    split_gates(model)
    assert model[0] is own


def test_a_unet_gives_the_same_under_the_same_names():
    model = tiny_unet()
    randomize(model)
    model.double().requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(2)
    noisy = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
    prompt = torch.randn(2, 7, CROSS_ATTENTION_DIM, generator=generator, dtype=torch.float64)
    prompt.requires_grad_()

    def predict():
        output = model(noisy, torch.tensor([3, 800]), prompt).sample
        return output, *torch.autograd.grad(output.square().sum(), prompt)

    names, expected = [*model.state_dict()], predict()
    for _ in range(2):  # again it changes nothing
        split_gates(model)
        assert_same(predict(), expected)
    assert [*model.state_dict()] == names
    gates = [layer for layer in model.modules() if isinstance(layer, GEGLU)]
    assert len(gates) == 4
    assert all(isinstance(layer, SplitGEGLU) for layer in gates)


@pytest.mark.parametrize("asked", [False, True])
def test_a_run_that_asks_for_it_has_it(tmp_path, asked):
    world = write_world(tmp_path)
    micro_step, collated = open_micro_step(world, **{"execution.split_gates": asked})
    modules = micro_step.diffusion.unet.modules()
    assert any(isinstance(layer, SplitGEGLU) for layer in modules) == asked
    assert micro_step(collated, 0, 2)[0]["loss"] > 0
