"""Signals on image features: against other libraries, and those that need the features
themselves.
"""

import math
from itertools import combinations

import pytest
import torch
from torch.nn import functional as F

from dcr.losses.align_uniform import AlignUniform, alignment, uniformity
from dcr.losses.dcl import DCL
from dcr.losses.dclw import DCLW
from dcr.losses.feature_transform import FeatureTransform
from dcr.losses.features import contrast_features, view_similarities
from dcr.losses.hn_nce import HNNCE
from dcr.losses.infonce import InfoNCE
from dcr.losses.macl import MACL
from dcr.losses.mochi import MoCHi
from dcr.losses.mv_dhel import MVDHEL
from dcr.losses.polyview import PolyView
from dcr.losses.sigmoid import Sigmoid
from dcr.losses.signals import FEATURE_SIGNALS
from dcr.losses.supcon import SupCon

IMAGES, WIDTH = 6, 8
NAMED = {
    "mochi": MoCHi(0.2, num_hardest=3, num_mixed=4, num_query_mixed=2),
    "feature_transform": FeatureTransform(0.2, positive_beta=2.0, negative_beta=1.6),
    "align_uniform": AlignUniform(weight=1.0, t=2.0),
}


def draw_views(count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, IMAGES, WIDTH, dtype=torch.float64, generator=generator)


def against_all_views(signal, views):
    """SimCLR's setting, which most published implementations have."""
    return signal(*view_similarities(views, "all_views")).mean()


def generator():
    return torch.Generator().manual_seed(7)


def nt_xent_by_loops(views, temperature):
    units = F.normalize(views, dim=-1).flatten(0, 1)
    total = 0.0
    for i in range(2 * IMAGES):
        logits = [float(units[i] @ units[k]) / temperature for k in range(2 * IMAGES) if k != i]
        positive = float(units[i] @ units[(i + IMAGES) % (2 * IMAGES)]) / temperature
        total += -positive + math.log(sum(map(math.exp, logits)))
    return total / (2 * IMAGES)


@pytest.mark.parametrize(
    "signal", [InfoNCE(0.3), SupCon(0.3), PolyView(0.3), HNNCE(0.3, alpha=1.0, beta=0.0)]
)
def test_two_views_against_all_are_nt_xent(signal):
    import lightly.loss
    from pytorch_metric_learning.losses import NTXentLoss

    views = draw_views()
    found = against_all_views(signal, views).item()
    assert found == pytest.approx(nt_xent_by_loops(views, 0.3), abs=1e-10)
    assert found == pytest.approx(lightly.loss.NTXentLoss(0.3)(*views).item(), abs=1e-10)
    labels = torch.arange(IMAGES).repeat(2)
    assert found == pytest.approx(NTXentLoss(0.3)(views.flatten(0, 1), labels).item(), abs=1e-6)


def test_decoupled_signals_are_lightlys():
    import lightly.loss

    views = draw_views()
    expected = lightly.loss.DCLLoss(temperature=0.3)(*views)
    assert against_all_views(DCL(0.3), views).item() == pytest.approx(expected.item(), abs=1e-10)
    expected = lightly.loss.DCLWLoss(temperature=0.3, sigma=0.7)(*views)
    assert against_all_views(DCLW(0.3, sigma=0.7), views).item() == pytest.approx(
        expected.item(), abs=1e-10
    )


def test_macl_is_lightlys_in_value_and_gradient():
    from lightly.loss import MACLLoss

    ours, theirs = (draw_views().requires_grad_() for _ in range(2))
    loss, expected = (
        against_all_views(MACL(0.3, 0.5, 0.1), ours),
        MACLLoss(0.3, alpha=0.5, A_0=0.1)(*theirs),
    )
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_sigmoid_is_open_clips():
    import open_clip

    features, views = F.normalize(draw_views(), dim=-1)
    expected = open_clip.loss.SigLipLoss()(features, views, torch.tensor(10.0), torch.tensor(-10.0))
    found = contrast_features(torch.stack([features, views]), Sigmoid(10.0, -10.0)).mean()
    assert found.item() == pytest.approx(expected.item(), abs=1e-10)


def test_hn_nce_at_one_and_zero_is_clips_loss():
    import open_clip

    features, views = F.normalize(draw_views(), dim=-1)
    expected = open_clip.ClipLoss()(features, views, 1 / 0.07)
    found = contrast_features(
        torch.stack([features, views]), HNNCE(0.07, alpha=1.0, beta=0.0)
    ).mean()
    assert found.item() == pytest.approx(expected.item(), abs=1e-10)


def test_supcon_with_labels_is_pytorch_metric_learnings():
    from pytorch_metric_learning.losses import SupConLoss

    features, labels = draw_views(3).flatten(0, 1), torch.tensor([0, 0, 1, 1, 1, 2] * 3)
    units = F.normalize(features, dim=-1)
    similar, equal = units @ units.T, labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool)
    positives = similar.masked_fill(~equal | itself, -torch.inf)
    found = SupCon(0.2)(positives, similar.masked_fill(equal, -torch.inf)).mean()
    assert found.item() == pytest.approx(SupConLoss(0.2)(features, labels).item(), abs=1e-6)


def test_polyview_with_many_views_is_the_mean_over_pairs_against_all_views():
    views = draw_views(4)
    units = F.normalize(views, dim=-1)
    losses = []
    for a in range(4):
        for i in range(IMAGES):
            push = sum(
                math.exp(units[a, i] @ units[m, j] / 0.3)
                for m in range(4)
                for j in range(IMAGES)
                if j != i
            )
            pulls = [math.exp(units[a, i] @ units[b, i] / 0.3) for b in range(4) if b != a]
            losses.append(sum(-math.log(pull / (pull + push)) for pull in pulls) / 3)
    found = contrast_features(views, PolyView(0.3))
    assert torch.allclose(found, torch.tensor(losses, dtype=torch.float64), atol=1e-10)


def test_mv_dhel_takes_all_pairs_and_each_view_against_itself():
    views = draw_views(3)
    units = F.normalize(views, dim=-1)
    losses = []
    for i in range(IMAGES):
        pull = sum(math.exp(units[a, i] @ units[b, i] / 0.3) for a, b in combinations(range(3), 2))
        pushes = [sum(math.exp(u[i] @ u[j] / 0.3) for j in range(IMAGES) if j != i) for u in units]
        losses.append(-math.log(pull) + sum(map(math.log, pushes)))
    found = contrast_features(views, MVDHEL(0.3))
    assert torch.allclose(found, torch.tensor(losses, dtype=torch.float64), atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_mv_dhel_with_two_views_is_not_below_nt_xent(seed):
    views = draw_views(seed=seed)
    assert contrast_features(views, MVDHEL(0.3)).mean().item() >= nt_xent_by_loops(views, 0.3)


def test_one_view_is_refused():
    with pytest.raises(ValueError, match="views must be at least two, got 1"):
        view_similarities(draw_views(1), "all_views")


def test_names_here_are_those_of_every_feature_signal():
    assert {name: type(signal) for name, signal in NAMED.items()} == FEATURE_SIGNALS


@pytest.mark.parametrize("num_views", [2, 3])
@pytest.mark.parametrize("name", NAMED)
def test_same_draws_give_the_same_loss_per_anchor(name, num_views):
    views = draw_views(num_views).float()
    losses = NAMED[name](views, generator())
    assert losses.shape == (num_views * IMAGES,)
    assert losses.dtype == torch.float32
    assert torch.equal(losses, NAMED[name](views, generator()))


@pytest.mark.parametrize("name", ["feature_transform", "align_uniform"])
def test_gradient_agrees_with_finite_differences(name):
    views = draw_views()[:, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: NAMED[name](v, generator()), views)


@pytest.mark.parametrize("name", NAMED)
def test_stays_finite_where_all_features_are_one(name):
    views = torch.ones(2, IMAGES, WIDTH).requires_grad_()
    losses = NAMED[name](views, generator())
    losses.sum().backward()
    assert losses.isfinite().all()
    assert views.grad.isfinite().all()


@pytest.mark.parametrize(
    "signal",
    [MoCHi(0.01, num_hardest=3, num_mixed=4, num_query_mixed=2), FeatureTransform(0.01, 2.0, 1.6)],
)
def test_stays_finite_at_small_temperature_with_opposite_views(signal):
    features = F.normalize(draw_views()[0].float(), dim=-1)
    views = torch.stack([features, -features]).requires_grad_()
    losses = signal(views, generator())
    losses.sum().backward()
    assert losses.isfinite().all()
    assert views.grad.isfinite().all()


def test_mochi_without_made_negatives_is_infonce():
    found = MoCHi(0.3, num_hardest=3, num_mixed=0, num_query_mixed=0)(draw_views(), generator())
    assert torch.allclose(found, contrast_features(draw_views(), InfoNCE(0.3)), atol=1e-12)


def test_mochi_mixes_only_the_hardest_and_sends_no_gradient_to_what_it_made():
    keys = torch.eye(4, dtype=torch.float64)
    anchors = torch.tensor([[0.1, 0.9, 0.4, 0.2]], dtype=torch.float64)
    anchors = F.normalize(anchors, dim=-1)
    similarities = (anchors @ keys).masked_fill(
        torch.tensor([[True, False, False, False]]), -torch.inf
    )
    made = MoCHi(0.2, num_hardest=2, num_mixed=50, num_query_mixed=50).make_negatives(
        anchors, keys, similarities, generator()
    )[0]
    assert torch.allclose(made.norm(dim=-1), torch.ones(100, dtype=torch.float64))
    mixed, query_mixed = made[:50], made[50:]
    assert (mixed[:, [0, 3]] == 0).all()  # the key that is no negative, and the least near
    along = query_mixed @ anchors[0]
    assert (along >= similarities[0, 2] - 1e-12).all()
    assert (query_mixed[:, 0] > 0).any()  # through the anchor alone
    views = draw_views().requires_grad_()
    signal = MoCHi(0.2, num_hardest=2, num_mixed=3, num_query_mixed=3)
    anchors, keys = F.normalize(views, dim=-1)
    before = signal.contrast(anchors, keys, generator())
    with torch.no_grad():
        units = F.normalize(views, dim=-1)
        similarities = (units[0] @ units[1].T).masked_fill(
            torch.eye(IMAGES, dtype=torch.bool), -torch.inf
        )
        made = signal.make_negatives(units[0], units[1], similarities, generator())
    negatives = (anchors @ keys.T).masked_fill(torch.eye(IMAGES, dtype=torch.bool), -torch.inf)
    positives = (anchors * keys).sum(dim=1, keepdim=True)
    expected = InfoNCE(0.2)(
        positives, torch.cat([negatives, torch.einsum("bd,bnd->bn", anchors, made)], dim=1)
    )
    assert torch.allclose(before, expected, atol=1e-12)
    gradients = [
        torch.autograd.grad(losses.sum(), views, retain_graph=True)[0]
        for losses in (before, expected)
    ]
    assert torch.allclose(*gradients, atol=1e-12)


def test_feature_transform_is_infonce_on_vectors_moved_by_hand():
    anchors, keys = F.normalize(draw_views(), dim=-1)
    signal, draws = FeatureTransform(0.3, 2.0, 1.6), generator()
    found = signal.contrast(anchors, keys, generator())
    from dcr.losses.feature_transform import draw_beta

    share = 1 + draw_beta(2.0, (IMAGES, 1), draws)
    order = torch.rand(IMAGES, IMAGES - 1, generator=draws).argsort(dim=1)
    mu = draw_beta(1.6, (IMAGES, IMAGES - 1), draws)
    for i in range(IMAGES):
        others = torch.stack([keys[j] for j in range(IMAGES) if j != i])
        made = mu[i][:, None] * others + (1 - mu[i][:, None]) * others[order[i]]
        moved = (share[i] * anchors[i] + (1 - share[i]) * keys[i]) @ (
            share[i] * keys[i] + (1 - share[i]) * anchors[i]
        )
        own, length = anchors[i] @ keys[i], share[i].item()
        assert moved.item() == pytest.approx(
            (own + 2 * length * (1 - length) * (1 - own)).item(), abs=1e-12
        )
        assert moved <= own
        expected = InfoNCE(0.3)(moved[None, None], (made @ anchors[i])[None])
        assert found[i].item() == pytest.approx(expected.item(), abs=1e-10)


def test_beta_draws_have_the_moments_of_the_distribution_and_leave_the_global_stream_alone():
    from dcr.losses.feature_transform import draw_beta

    state = torch.get_rng_state()
    drawn = draw_beta(1.6, (20_000,), generator())
    assert torch.equal(torch.get_rng_state(), state)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * 1.6 + 1)), abs=0.003)


def test_uniformity_of_collapsed_and_of_orthogonal_features():
    assert uniformity(torch.ones(5, 8), t=2.0).item() == pytest.approx(0.0, abs=1e-6)
    assert uniformity(torch.eye(8), t=2.0).item() == pytest.approx(-4.0, abs=1e-6)
    assert uniformity(torch.eye(8), t=3.0).item() == pytest.approx(-6.0, abs=1e-6)


def test_alignment_and_uniformity_are_the_formulas():
    features, views = draw_views()
    a, b = F.normalize(features, dim=-1), F.normalize(views, dim=-1)
    distances = [float((a[i] - b[i]).norm()) ** 2 for i in range(IMAGES)]
    assert alignment(features, views).item() == pytest.approx(sum(distances) / IMAGES, abs=1e-12)
    pairs = [
        math.exp(-2.0 * float((a[i] - a[j]).norm()) ** 2) for i, j in combinations(range(IMAGES), 2)
    ]
    assert uniformity(features, 2.0).item() == pytest.approx(
        math.log(sum(pairs) / len(pairs)), abs=1e-12
    )
    losses = AlignUniform(weight=0.5, t=2.0)(torch.stack([features, views]), generator())
    spread = (uniformity(features, 2.0) + uniformity(views, 2.0)) / 2
    assert losses.mean().item() == pytest.approx(
        (alignment(features, views) + 0.5 * spread).item(), abs=1e-12
    )
