"""Every signal: against its formula, in its limit cases, at extreme similarities, and chunk by
chunk.
"""

import dataclasses
import math

import pytest
import torch

from dcr.losses.cacr import CACR
from dcr.losses.dcl import DCL
from dcr.losses.dclw import DCLW
from dcr.losses.debiased import Debiased
from dcr.losses.focal import Focal
from dcr.losses.hcl import HCL
from dcr.losses.hn_nce import HNNCE
from dcr.losses.infonce import InfoNCE
from dcr.losses.kernel_mixture import KernelMixture
from dcr.losses.macl import MACL
from dcr.losses.mv_dhel import MVDHEL
from dcr.losses.polyview import PolyView
from dcr.losses.sigmoid import Sigmoid
from dcr.losses.signals import SIGNALS
from dcr.losses.supcon import SupCon
from signal_loops import LOOPS

PARAMETERS = {
    "infonce": {"temperature": 0.2},
    "dcl": {"temperature": 0.2},
    "dclw": {"temperature": 0.2, "sigma": 0.5},
    "sigmoid": {"logit_scale": 5.0, "logit_bias": -2.0},
    "supcon": {"temperature": 0.2},
    "debiased": {"temperature": 0.5, "tau_plus": 0.1},
    "hcl": {"temperature": 0.5, "tau_plus": 0.1, "beta": 1.0},
    "hn_nce": {"temperature": 0.2, "alpha": 0.9, "beta": 0.25},
    "cacr": {"attraction": 1.0, "repulsion": 0.7, "t_plus": 1.0, "t_minus": 2.0},
    "macl": {"temperature": 0.2, "alpha": 0.5, "a0": 0.1},
    "mv_dhel": {"temperature": 0.2},
    "polyview": {"temperature": 0.2},
    "focal": {"temperature": 0.2, "gamma": 2.0},
    "kernel_mixture": {"temperature": 0.4, "gamma": 1.5},
}
# A part of them carries no gradient, which finite differences do not know.
STOPPED = {"dclw", "macl"}
TEMPERATURES = [name for name, values in PARAMETERS.items() if "temperature" in values]


def build(name, **changes):
    return SIGNALS[name](**PARAMETERS[name] | changes)


def similarities(num_positives=1, num_negatives=7, size=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (size, num_positives + num_negatives)
    drawn = 2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1
    return drawn[:, :num_positives], drawn[:, num_positives:]


def same(a, b, tolerance=1e-10):
    return torch.allclose(
        torch.as_tensor(a, dtype=torch.float64), b, atol=tolerance, rtol=tolerance
    )


def test_parameters_here_are_those_of_every_signal():
    assert PARAMETERS.keys() == SIGNALS.keys() == LOOPS.keys()


@pytest.mark.parametrize("num_positives", [1, 3])
@pytest.mark.parametrize("name", SIGNALS)
def test_equals_a_loop_written_from_the_formula(name, num_positives):
    positives, negatives = similarities(num_positives)
    expected = LOOPS[name](positives.tolist(), negatives.tolist(), **PARAMETERS[name])
    assert same(expected, build(name)(positives, negatives))


@pytest.mark.parametrize("num_positives", [1, 3])
@pytest.mark.parametrize("name", [name for name in SIGNALS if name not in STOPPED])
def test_gradient_agrees_with_finite_differences(name, num_positives):
    inputs = [s.requires_grad_() for s in (t.clone() for t in similarities(num_positives, 4, 3))]
    assert torch.autograd.gradcheck(build(name), inputs)


@pytest.mark.parametrize("name", TEMPERATURES)
@pytest.mark.parametrize("positive", [-1.0, 1.0])
@pytest.mark.parametrize("negative", [-1.0, 1.0])
def test_stays_finite_at_small_temperature_with_opposite_and_equal_vectors(
    name, positive, negative
):
    positives, negatives = torch.full((4, 2), positive), torch.full((4, 6), negative)
    leaves = [t.clone().requires_grad_() for t in (positives, negatives)]
    losses = build(name, temperature=0.01)(*leaves)
    losses.sum().backward()
    assert all(t.isfinite().all() for t in (losses, leaves[0].grad, leaves[1].grad))


@pytest.mark.parametrize("name", ["cacr", "sigmoid"])
@pytest.mark.parametrize("positive", [-1.0, 1.0])
def test_signals_without_temperature_stay_finite_at_sharp_settings(name, positive):
    sharp = {"cacr": {"t_plus": 100.0, "t_minus": 100.0}, "sigmoid": {"logit_scale": 100.0}}[name]
    leaves = [torch.full((4, n), s).requires_grad_() for n, s in ((2, positive), (6, -positive))]
    losses = build(name, **sharp)(*leaves)
    losses.sum().backward()
    assert all(t.isfinite().all() for t in (losses, leaves[0].grad, leaves[1].grad))


@pytest.mark.parametrize("name", SIGNALS)
def test_a_masked_negative_does_not_count_and_gets_no_gradient(name):
    positives, negatives = similarities(2)
    masked = torch.cat(
        [negatives, torch.full((5, 1), -torch.inf, dtype=torch.float64)], dim=1
    ).requires_grad_()
    losses = build(name)(positives, masked)
    assert same(losses, build(name)(positives, negatives), 1e-12)
    losses.sum().backward()
    assert torch.equal(masked.grad[:, -1], torch.zeros(5, dtype=torch.float64))
    assert masked.grad.isfinite().all()


@pytest.mark.parametrize("name", SIGNALS)
def test_half_precision_is_lifted_to_float32(name):
    positives, negatives = similarities(2)
    losses = build(name)(positives.bfloat16(), negatives.bfloat16())
    assert losses.dtype == torch.float32
    assert losses.shape == (5,)


@pytest.mark.parametrize("name", SIGNALS)
def test_anchors_can_be_walked_in_chunks_exactly_where_the_signal_says_so(name):
    """A signal that does not need the whole batch gives the same in parts; one that says so
    gives something else.
    """
    positives, negatives = similarities(2, size=6)
    whole = build(name)(positives, negatives)
    parts = torch.cat(
        [build(name)(positives[rows], negatives[rows]) for rows in torch.arange(6).split(2)]
    )
    assert same(whole, parts, 1e-12) != SIGNALS[name].whole_batch


@pytest.mark.parametrize("name", SIGNALS)
def test_parameters_are_flat_numbers_whose_defaults_are_the_published_ones(name):
    fields = dataclasses.fields(SIGNALS[name])
    assert {field.type for field in fields} == {"float"}
    if name != "infonce":  # which takes the loss's temperature
        SIGNALS[name]()


@pytest.mark.parametrize("name", TEMPERATURES)
@pytest.mark.parametrize("temperature", [0.0, -0.1, math.nan])
def test_refuses_a_temperature_that_is_not_positive(name, temperature):
    with pytest.raises(ValueError, match="temperature must be > 0"):
        build(name, temperature=temperature)


@pytest.mark.parametrize(
    ("build_it", "sentence"),
    [
        (lambda: DCLW(0.1, sigma=0.0), "sigma must be > 0"),
        (lambda: Sigmoid(0.0, -10.0), "logit_scale must be > 0"),
        (lambda: Debiased(0.5, tau_plus=1.0), "tau_plus must be at least 0 and below 1"),
        (lambda: HCL(0.5, tau_plus=-0.1, beta=1.0), "tau_plus must be at least 0 and below 1"),
        (lambda: HNNCE(0.1, alpha=1.5, beta=0.0), "alpha must be between 0 and 1"),
        (lambda: MACL(0.1, alpha=1.0, a0=0.5), "must be below 1, or tau_a can be 0"),
        (lambda: Focal(0.1, gamma=0.5), "gamma must be 0 or at least 1"),
        (lambda: KernelMixture(0.1, gamma=0.0), "gamma must be > 0"),
    ],
)
def test_refuses_parameters_out_of_their_range(build_it, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_it()


@pytest.mark.parametrize("num_positives", [1, 3])
@pytest.mark.parametrize(
    "signal",
    [
        SupCon(0.2),
        Debiased(0.2, tau_plus=0.0),
        HCL(0.2, tau_plus=0.0, beta=0.0),
        HNNCE(0.2, alpha=1.0, beta=0.0),
        Focal(0.2, gamma=0.0),
        KernelMixture(0.4, gamma=2.0),
    ],
)
def test_is_infonce_in_its_limit_case(signal, num_positives):
    positives, negatives = similarities(num_positives)
    assert same(InfoNCE(0.2)(positives, negatives), signal(positives, negatives))


@pytest.mark.parametrize("signal", [PolyView(0.2), Debiased(0.2, 0.0)])
def test_is_infonce_with_one_positive(signal):
    assert same(InfoNCE(0.2)(*similarities()), signal(*similarities()))


def test_infonce_is_softplus_of_dcl():
    expected = torch.nn.functional.softplus(DCL(0.2)(*similarities()))
    assert same(InfoNCE(0.2)(*similarities()), expected)


def test_mv_dhel_with_one_positive_and_one_group_is_dcl():
    assert same(DCL(0.2)(*similarities()), MVDHEL(0.2)(*similarities()))


def test_hn_nce_without_its_positives_is_dcl():
    assert same(DCL(0.2)(*similarities()), HNNCE(0.2, alpha=0.0, beta=0.0)(*similarities()))


def test_dclw_with_equal_positives_is_dcl():
    positives, negatives = similarities(2)
    positives = torch.full_like(positives, 0.3)
    assert same(DCL(0.2)(positives, negatives), DCLW(0.2, sigma=0.5)(positives, negatives))


def test_dclw_has_the_gradient_of_dcl_times_its_weights():
    positives, negatives = (t.clone().requires_grad_() for t in similarities())
    pull, push = torch.autograd.grad(
        DCLW(0.2, sigma=0.5)(positives, negatives).sum(), (positives, negatives)
    )
    plain_pull, plain_push = torch.autograd.grad(
        DCL(0.2)(positives, negatives).sum(), (positives, negatives)
    )
    weights = 2 - 5 * torch.softmax(positives.detach() / 0.5, dim=0)
    assert same(plain_pull * weights, pull)
    assert torch.equal(push, plain_push)
    assert weights.mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize("num_positives", [1, 2])
@pytest.mark.parametrize("temperature", [0.01, 0.2])
def test_macl_has_the_gradient_of_dcl_at_its_temperature(num_positives, temperature):
    positives, negatives = (t.clone().requires_grad_() for t in similarities(num_positives))
    adapted = temperature * (1 + 0.5 * (positives.mean().item() - 0.1))
    found = torch.autograd.grad(
        MACL(temperature, 0.5, 0.1)(positives, negatives).sum(), (positives, negatives)
    )
    expected = torch.autograd.grad(DCL(adapted)(positives, negatives).sum(), (positives, negatives))
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_hcl_without_beta_is_the_debiased_loss():
    positives, negatives = similarities(2)
    assert same(
        Debiased(0.5, tau_plus=0.1)(positives, negatives),
        HCL(0.5, 0.1, beta=0.0)(positives, negatives),
    )


def test_a_hard_negative_is_all_that_hcl_sees_at_large_beta():
    positives, negatives = similarities()
    hardest = negatives.max(dim=1, keepdim=True).values.expand_as(negatives)
    assert same(
        HCL(0.5, tau_plus=0.1, beta=0.0)(positives, hardest),
        HCL(0.5, tau_plus=0.1, beta=1e4)(positives, negatives),
    )


def test_debiasing_never_goes_below_what_opposite_negatives_would_add():
    positives, negatives = torch.ones(3, 1), torch.full((3, 4), -0.9)
    floor = InfoNCE(0.5)(positives, torch.full((3, 4), -1.0))
    assert torch.allclose(Debiased(0.5, tau_plus=0.5)(positives, negatives), floor)


def test_cacr_with_one_positive_pulls_by_alignment_alone():
    positives, negatives = similarities()
    pull = CACR(1.5, 0.0, t_plus=3.0, t_minus=2.0)(positives, negatives)
    assert same(1.5 * (2 - 2 * positives[:, 0]), pull)


def test_supcon_takes_anchors_with_different_numbers_of_positives():
    positives, negatives = similarities(2)
    ragged = positives.clone()
    ragged[0, 1], ragged[1] = -torch.inf, -torch.inf
    losses = SupCon(0.2)(ragged.requires_grad_(), negatives)
    assert same(SupCon(0.2)(positives[:1, :1], negatives[:1]), losses[:1])
    assert losses[1] == 0
    assert same(SupCon(0.2)(positives[2:], negatives[2:]), losses[2:])
    losses.sum().backward()
    assert ragged.grad.isfinite().all()
