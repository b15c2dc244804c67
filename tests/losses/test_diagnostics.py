"""Diagnostics of a contrast, in cases whose answer is known."""

import pytest
import torch

from dcr.losses.diagnostics import effective_negatives, slopes, target_gradient_share
from dcr.losses.infonce import InfoNCE
from dcr.losses.sigmoid import Sigmoid
from dcr.losses.signals import SIGNALS
from training_world import parameters

TWO = torch.tensor([[0.3, 0.3]])


def pushing(negatives, signal):
    return effective_negatives(slopes(TWO.expand(len(negatives), 2), negatives, signal)[1])


def target_share(positives, negatives, signal):
    return target_gradient_share(positives, slopes(positives, negatives, signal)[0])


def test_equal_negatives_all_count():
    assert pushing(torch.full((3, 7), 0.4), InfoNCE(0.1)).tolist() == pytest.approx([7.0] * 3)


def test_a_masked_negative_does_not_count():
    assert pushing(
        torch.tensor([[0.4, 0.4, -torch.inf, 0.4]]), InfoNCE(0.1)
    ).item() == pytest.approx(3.0)


def test_one_hard_negative_is_one():
    assert pushing(torch.tensor([[1.0, -1.0, -1.0]]), InfoNCE(0.01)).item() == pytest.approx(1.0)


def test_it_is_the_perplexity_of_infonces_softmax():
    weights = torch.tensor([0.5, 0.25, 0.25])
    assert pushing(0.1 * weights.log()[None], InfoNCE(0.1)).item() == pytest.approx(2**1.5)


def test_a_signal_without_softmax_has_its_own_shares():
    """Sigmoid pushes by the sigmoid of each logit, one by one."""
    negatives = torch.tensor([[0.9, 0.2]])
    shares = torch.sigmoid(10 * negatives - 10)
    shares = shares / shares.sum()
    expected = torch.exp(-(shares * shares.log()).sum()).item()
    assert pushing(negatives, Sigmoid(10.0, -10.0)).item() == pytest.approx(expected, rel=1e-5)


def test_no_push_at_all_is_no_negative():
    assert effective_negatives(torch.zeros(1, 3)).item() == 0.0


@pytest.mark.parametrize("name", SIGNALS)
def test_every_signal_can_be_looked_at(name):
    generator = torch.Generator().manual_seed(0)
    positives, negatives = (2 * torch.rand(4, n, generator=generator) - 1 for n in (2, 5))
    pulls, pushes = slopes(
        positives, negatives, parameters(**{"signal.name": name}).signal.build(0.1)
    )
    assert (effective_negatives(pushes) <= 5 + 1e-4).all()
    assert (effective_negatives(pushes) >= 1 - 1e-4).all()
    assert (
        (target_gradient_share(positives, pulls) >= 0)
        & (target_gradient_share(positives, pulls) <= 1)
    ).all()


def test_two_positives_alike_share_the_pull():
    assert target_share(TWO, torch.tensor([[0.1, -0.2]]), InfoNCE(0.1)).item() == pytest.approx(0.5)


def test_the_share_is_that_of_gradients_at_the_anchor_itself():
    """Autograd through real vectors: the length of the gradient that each positive alone sends
    to the anchor.
    """
    generator = torch.Generator().manual_seed(0)
    anchor, view, target, *others = torch.randn(6, 9, dtype=torch.float64, generator=generator)
    signal = InfoNCE(0.2)
    pulls = []
    for alone in (0, 1):
        leaf = anchor.clone().requires_grad_()
        cosines = [torch.cosine_similarity(leaf, other, dim=0) for other in (view, target, *others)]
        kept = [c if i == alone else c.detach() for i, c in enumerate(cosines)]
        signal(torch.stack(kept[:2])[None], torch.stack(kept[2:])[None]).sum().backward()
        pulls.append(leaf.grad.norm().item())
    positives, negatives = (torch.stack(part).detach()[None] for part in (cosines[:2], cosines[2:]))
    assert target_share(positives, negatives, signal).item() == pytest.approx(
        pulls[1] / sum(pulls), abs=1e-10
    )


def test_a_target_that_is_met_pulls_no_more():
    share = target_share(
        torch.tensor([[0.3, 1.0]]), torch.tensor([[0.1, -0.2]]), Sigmoid(10.0, -10.0)
    )
    assert share.item() == 0.0


def test_no_pull_at_all_is_no_share():
    assert target_share(torch.ones(1, 2), torch.zeros(1, 3), InfoNCE(0.1)).item() == 0.0
