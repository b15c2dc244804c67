"""Levers for research and approximations: each against its formula, and neutral at its default."""

from dataclasses import fields, replace

import pytest
import torch
from torch.nn import functional as F

from dcr.data.views import ViewAugmentation
from dcr.losses.infonce import infonce
from dcr.training.batches import HELD_OUT, make_batch
from dcr.training.runs import approximations
from diffusion_models import tiny_diffusion
from tiny_conditions import BATCH, TinyConditions, draw_batch, step_of, tiny_predict, weights
from training_world import parameters, run_of

OPTIONS = weights()
VIEW = ViewAugmentation(0.1, 0.1, 0.1, 0.05, 0.5, 0.5, (0.9, 1.0), (1 / 1.1, 1.1))


def part(batch, places):
    """Return the samples of a batch at ``places``."""
    found = {field.name: getattr(batch, field.name) for field in fields(batch)}
    tensors = {name: value[places] for name, value in found.items() if torch.is_tensor(value)}
    return replace(batch, keys=batch.keys[places], **tensors)


@pytest.mark.parametrize(("method", "is_same"), [("reconstruction", True), ("dcr", False)])
def test_one_large_batch_is_the_same_as_accumulated_ones_for_the_noise_error_alone(method, is_same):
    """DCR contrasts within a batch, so there another size is another loss."""
    whole = part(draw_batch(), slice(4))
    (of_whole, gradient), first, second = (
        step(batch, OPTIONS, method)
        for batch in (whole, part(whole, slice(0, 2)), part(whole, slice(2, 4)))
    )
    losses, gradients = zip(first, second, strict=True)
    mean_loss = sum(parts["loss"] for parts in losses) / 2
    assert (abs(of_whole["loss"] - mean_loss) < 1e-12) == is_same
    assert torch.allclose(gradient, sum(gradients) / 2, rtol=0, atol=1e-12) == is_same


def drawn(**changes):
    return HELD_OUT.model_copy(update=changes)


def step(batch, options, method="dcr"):
    """Return an objective's parts and its gradient."""
    model = TinyConditions()
    parts = step_of(method, model, tiny_predict(), batch, options)
    return parts, torch.cat([p.grad.flatten() for p in model.parameters()])


def plain(batch, loss):
    """Return a loss written plainly, of (anchors (B, D), grid (B, B, D), views (B, V, D),
    model), and its gradient.
    """
    model, predict, size = TinyConditions(), tiny_predict(), len(batch.pixels)
    features, own = model(batch.pixels)
    views = model(batch.view_pixels)[1].unflatten(0, (-1, size)).transpose(0, 1)
    grid = predict(batch.noisy_latents, batch.timesteps, own.expand(size, -1, -1)).flatten(2)
    of_views = predict(batch.noisy_latents, batch.timesteps, views).flatten(2)
    value = loss(grid[range(size), range(size)], grid, of_views, features)
    value.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return value.item(), torch.cat([gradient.flatten() for gradient in gradients])


def similarities(anchors, grid, views, batch):
    positives = torch.cat([views, batch.targets.flatten(1)[:, None]], dim=1)
    positives = F.cosine_similarity(anchors[:, None], positives, dim=-1)
    return positives, F.cosine_similarity(anchors[:, None], grid, dim=-1)


def masked(negatives):
    return negatives.masked_fill(torch.eye(len(negatives), dtype=torch.bool), -torch.inf)


def assert_equal(found, expected):
    (parts, gradient), (value, expected_gradient) = found, expected
    assert parts["loss"] == pytest.approx(value, abs=1e-10)
    assert torch.allclose(gradient, expected_gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("num_views", "target_weight"), [(1, 0.2), (2, 0.5), (3, 0.0), (1, 1.0)])
def test_positives_are_weighted(num_views, target_weight):
    batch = draw_batch(num_views)

    def loss(anchors, grid, views, _):
        positives, negatives = similarities(anchors, grid, views, batch)
        denominator = torch.logsumexp(torch.cat([positives, masked(negatives)], 1) / 0.1, 1)
        terms = denominator[:, None] - positives / 0.1
        return ((1 - target_weight) * terms[:, :-1].mean(1) + target_weight * terms[:, -1]).mean()

    assert_equal(step(batch, weights(target_weight=target_weight)), plain(batch, loss))


def dcr_rows(anchors, grid, views, batch):
    positives, negatives = similarities(anchors, grid, views, batch)
    return infonce(positives, masked(negatives), 0.1)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_share_of_noise_error(share):
    batch = draw_batch()

    def loss(anchors, grid, views, _):
        error = F.mse_loss(anchors, batch.targets.flatten(1))
        return (1 - share) * dcr_rows(anchors, grid, views, batch).mean() + share * error

    assert_equal(step(batch, weights(reconstruction_share=share)), plain(batch, loss))


@pytest.mark.parametrize("method", ["dcr", "reconstruction"])
def test_losses_are_weighted_by_sample(method):
    batch = replace(draw_batch(), weights=torch.linspace(0.1, 2, BATCH, dtype=torch.float64))

    def loss(anchors, grid, views, _):
        errors = ((anchors - batch.targets.flatten(1)) ** 2).mean(1)
        rows = dcr_rows(anchors, grid, views, batch) if method == "dcr" else errors
        return (rows * batch.weights).mean()

    assert_equal(step(batch, OPTIONS, method), plain(batch, loss))


@pytest.mark.parametrize("method", ["dcr", "reconstruction", "naive"])
def test_the_pull_is_the_cosine_to_the_base_embedding(method):
    batch = draw_batch()
    free = step(batch, OPTIONS, method)
    batch = replace(batch, base_features=torch.eye(BATCH, 8, dtype=torch.float64))
    parts, gradient = step(batch, weights(base_embedding_weight=0.7), method)
    value, pull = plain(
        batch, lambda *args: 0.7 * (1 - F.cosine_similarity(args[3], batch.base_features)).mean()
    )
    assert parts["base_distance"] == pytest.approx(value, abs=1e-10)
    assert parts["loss"] == pytest.approx(free[0]["loss"] + value, abs=1e-10)
    assert torch.allclose(gradient, free[1] + pull, rtol=0, atol=1e-10)


def with_negatives(batch, count):
    """Sample negatives as a step does: other places, each at most once."""
    order = torch.rand(BATCH, BATCH - 1, generator=torch.Generator().manual_seed(4)).argsort(1)
    return replace(batch, negatives=order[:, :count] + 1)


def test_all_negatives_sampled_is_the_exact_loss():
    batch = draw_batch()
    exact = step(batch, OPTIONS)
    parts, gradient = step(with_negatives(batch, BATCH - 1), OPTIONS)
    assert parts == pytest.approx(exact[0], abs=1e-10)
    assert torch.allclose(gradient, exact[1], rtol=0, atol=1e-10)


def test_the_sum_over_sampled_negatives_is_scaled_to_that_of_all():
    batch = with_negatives(draw_batch(), 2)

    def loss(anchors, grid, views, _):
        positives, negatives = similarities(anchors, grid, views, batch)
        terms = []
        for i in range(BATCH):
            places = [(i + offset) % BATCH for offset in batch.negatives[i].tolist()]
            sampled = sum(torch.exp(negatives[i, k] / 0.1) for k in places) * (BATCH - 1) / 2
            denominator = torch.exp(positives[i] / 0.1).sum() + sampled
            terms.append(-torch.log(torch.exp(positives[i] / 0.1) / denominator).mean())
        return torch.stack(terms).mean()

    assert_equal(step(batch, OPTIONS), plain(batch, loss))


@pytest.mark.parametrize("count", [None, 2])
def test_negatives_without_gradient_keep_the_loss(count):
    batch = draw_batch() if count is None else with_negatives(draw_batch(), count)
    exact = step(batch, OPTIONS)
    parts, gradient = step(batch, weights(negatives_gradient=False))
    assert parts == pytest.approx(exact[0], abs=1e-10)
    assert not torch.allclose(gradient, exact[1], rtol=0, atol=1e-3)

    if count is None:  # the anchor is the only prediction of the grid that moves

        def loss(anchors, grid, views, _):
            return dcr_rows(anchors, grid.detach(), views, batch).mean()

        assert_equal((parts, gradient), plain(batch, loss))


def test_approximations_are_named_where_they_apply():
    assert approximations(run_of(parameters(), "dcr")) == []
    on = parameters(**{"batches.negatives_count": 2, "loss.negatives_gradient": False})
    words = " and ".join(approximations(run_of(on, "dcr")))
    assert "2 sampled negatives stand for all" in words
    assert "no gradient flows through the negatives" in words
    assert approximations(run_of(on, "naive")) == approximations(run_of(on, "stage1")) == []
    assert (
        approximations(
            run_of(parameters(**{"batches.negatives_count": 2, "stage1.loss": "dcr"}), "stage1")
        )
        != []
    )


@pytest.fixture
def collated():
    generator = torch.Generator().manual_seed(0)
    return {
        "keys": [str(i) for i in range(6)],
        "crops": torch.randint(256, (6, 32, 32, 3), generator=generator, dtype=torch.uint8),
        "moments": torch.randn(6, 8, 8, 8, generator=generator),
    }


def test_sampled_negatives_are_different_others(collated, tmp_path):
    diffusion = tiny_diffusion(tmp_path)
    batch = make_batch(collated, diffusion, VIEW, 0, 0, batches=drawn(negatives_count=3))
    assert batch.negatives.shape == (6, 3)
    assert all(
        len(set(row)) == 3 and set(row) <= set(range(1, 6)) for row in batch.negatives.tolist()
    )
    assert make_batch(collated, diffusion, VIEW, 0, 0).negatives is None


def test_further_views_leave_the_first_as_it_is(collated, tmp_path):
    diffusion = tiny_diffusion(tmp_path)
    one, three = (
        make_batch(collated, diffusion, VIEW, 0, 0, batches=drawn(num_views=n)) for n in (1, 3)
    )
    first, second, third = three.view_pixels.split(6)
    assert torch.equal(first, one.view_pixels)
    assert not torch.allclose(second, third, atol=0.01)


def test_timesteps_lie_in_their_range(collated, tmp_path):
    diffusion = tiny_diffusion(tmp_path)
    batches = drawn(timestep_min=0.25, timestep_max=0.3)
    seen = torch.cat(
        [make_batch(collated, diffusion, VIEW, 0, s, batches=batches).timesteps for s in range(50)]
    )
    assert (seen.min() >= 250) & (seen.max() < 300)
    assert seen.unique().numel() > 40


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_min_snr_weights_follow_the_schedule(collated, tmp_path, prediction_type):
    diffusion = tiny_diffusion(tmp_path, prediction_type)
    batch = make_batch(collated, diffusion, VIEW, 0, 0, batches=drawn(snr_gamma=5.0))
    for weight, timestep in zip(batch.weights.tolist(), batch.timesteps.tolist(), strict=True):
        alpha_bar = diffusion.scheduler.alphas_cumprod[timestep].item()
        snr = alpha_bar / (1 - alpha_bar)
        expected = min(snr, 5.0) / (snr if prediction_type == "epsilon" else snr + 1)
        assert weight == pytest.approx(expected, rel=1e-4)


def test_views_made_one_by_one_are_those_made_at_once():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(5, 3, 16, 16, generator=generator, dtype=torch.float64)
    draws = VIEW.draw(5, generator)
    at_once = VIEW.apply(pixels, draws)
    pairs = zip(pixels.split(1), draws.split(1), strict=True)
    one_by_one = torch.cat([VIEW.apply(*pair) for pair in pairs])
    assert torch.allclose(at_once, one_by_one, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"batches.timestep_min": 0.5, "batches.timestep_max": 0.4}, "must be > timestep_min 0.5"),
        ({"published": ["loss"], "batches.num_views": 2}, "without loss where batches.num_views"),
        (
            {"published": "all", "batches.gather_negatives": True},
            "must be without sampling where batches.gather_negatives",
        ),
    ],
)
def test_levers_that_contradict_each_other_are_refused(changes, rule):
    with pytest.raises(ValueError, match=rule):
        parameters(**changes)
