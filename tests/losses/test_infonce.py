"""InfoNCE against cross-entropy."""

import pytest
import torch
from torch.nn import functional as F

from dcr.losses.features import feature_infonce
from dcr.losses.infonce import infonce

GENERATOR = torch.Generator().manual_seed(0)


def test_with_one_positive_is_cross_entropy():
    positives = torch.rand(6, 1, dtype=torch.float64, generator=GENERATOR)
    negatives = torch.rand(6, 9, dtype=torch.float64, generator=GENERATOR)
    logits = torch.cat([positives, negatives], dim=1) / 0.2
    expected = F.cross_entropy(logits, torch.zeros(6, dtype=torch.long), reduction="none")
    assert torch.allclose(infonce(positives, negatives, 0.2), expected, atol=1e-12)


def test_a_masked_negative_does_not_count_and_gets_no_gradient():
    positives = torch.rand(4, 2, dtype=torch.float64, generator=GENERATOR)
    negatives = torch.rand(4, 3, dtype=torch.float64, generator=GENERATOR)
    masked = torch.cat(
        [negatives, torch.full((4, 1), -torch.inf, dtype=torch.float64)], dim=1
    ).requires_grad_()
    loss = infonce(positives, masked, 0.1)
    assert torch.equal(loss, infonce(positives, negatives, 0.1))
    loss.sum().backward()
    assert torch.equal(masked.grad[:, -1], torch.zeros(4, dtype=torch.float64))


def test_half_precision_is_lifted_to_float32():
    assert infonce(torch.ones(2, 1).half(), torch.ones(2, 3).half(), 0.1).dtype == torch.float32


def test_feature_infonce_is_clips_loss_with_views_for_texts():
    import open_clip

    features, views = torch.randn(2, 7, 16, dtype=torch.float64, generator=GENERATOR)
    clip_loss = open_clip.ClipLoss()(
        F.normalize(features, dim=-1), F.normalize(views, dim=-1), 1 / 0.07
    )
    assert feature_infonce(features, views, 0.07).item() == pytest.approx(
        clip_loss.item(), abs=1e-12
    )
