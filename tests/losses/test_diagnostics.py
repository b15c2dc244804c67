"""Diagnostics of a contrast, in cases whose answer is known."""

import pytest
import torch

from dcr.losses.diagnostics import effective_negatives, target_gradient_share
from dcr.losses.infonce import InfoNCE
from dcr.losses.sigmoid import Sigmoid


def test_equal_negatives_all_count():
    assert effective_negatives(torch.full((3, 7), 0.4), 0.1).tolist() == pytest.approx([7.0] * 3)


def test_a_masked_negative_does_not_count():
    negatives = torch.tensor([[0.4, 0.4, -torch.inf, 0.4]])
    assert effective_negatives(negatives, 0.1).item() == pytest.approx(3.0)


def test_one_hard_negative_is_one():
    assert effective_negatives(torch.tensor([[1.0, -1.0, -1.0]]), 0.01).item() == pytest.approx(1.0)


def test_is_the_perplexity_of_the_weights():
    weights = torch.tensor([0.5, 0.25, 0.25])
    negatives = 0.1 * weights.log()[None]
    assert effective_negatives(negatives, 0.1).item() == pytest.approx(2**1.5)


def test_two_positives_alike_share_the_pull():
    share = target_gradient_share(torch.tensor([[0.3, 0.3]]), torch.tensor([[0.1, -0.2]]), InfoNCE(0.1))
    assert share.item() == pytest.approx(0.5)


def test_the_share_is_that_of_gradients_at_the_anchor_itself():
    """Autograd through real vectors: the length of the gradient that each positive alone sends to the anchor."""
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
    share = target_gradient_share(positives, negatives, signal)
    assert share.item() == pytest.approx(pulls[1] / sum(pulls), abs=1e-10)


def test_a_target_that_is_met_pulls_no_more():
    share = target_gradient_share(torch.tensor([[0.3, 1.0]]), torch.tensor([[0.1, -0.2]]), Sigmoid(10.0, -10.0))
    assert share.item() == 0.0


def test_no_pull_at_all_is_no_share():
    assert target_gradient_share(torch.ones(1, 2), torch.zeros(1, 3), InfoNCE(0.1)).item() == 0.0
