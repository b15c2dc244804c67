"""Signals, neighbours, made positives in both methods: in chunks as in the whole grid, in two
processes as in one.
"""

import pytest
import torch
from torch import multiprocessing
from torch.nn import functional as F

from dcr.losses.dcr import dcr_similarities
from dcr.losses.features import contrast_features
from dcr.losses.infonce import InfoNCE
from dcr.losses.signals import FEATURE_SIGNALS, SIGNALS
from dcr.positives.neighbours import Resampler, resample, resampled_losses
from dcr.training.batches import Batch
from dcr.training.contrast import Contrast
from dcr.training.distributed.processes import Processes, alone
from tiny_conditions import BATCH, TinyConditions, draw_batch, step_of, tiny_predict, weights
from training_world import fork_server, parameters

RULES = ["add_new_positive", "drop_false_negative", "drop_easy_negative", "drop_false_positive"]


WEIGHTS = weights(contrast_weight=0.3, reconstruction_weight=0.7)


def setting(num_views=1):
    batch = draw_batch(num_views)
    generator = torch.Generator().manual_seed(5)
    batch.clip_features = tuple(torch.randn(2, BATCH, 7, dtype=torch.float64, generator=generator))
    batch.signal_seed = 9
    return TinyConditions(), tiny_predict(), batch


def run(method, contrast, num_views=1, rows_per_chunk=2):
    model, predict, batch = setting(num_views)
    parts = step_of(method, model, predict, batch, WEIGHTS, contrast, None, rows_per_chunk)
    return parts, [parameter.grad for parameter in model.parameters()]


def whole_similarities(model, predict, batch, num_views):
    """All rows of the grid in one graph."""
    own = model(batch.pixels)[1]
    views = model(batch.view_pixels)[1].unflatten(0, (num_views, BATCH)).transpose(0, 1)
    conditions = torch.cat([own.expand(BATCH, -1, -1), views], dim=1)
    predictions = predict(batch.noisy_latents, batch.timesteps, conditions)
    rows = torch.arange(BATCH)
    return dcr_similarities(predictions[:, :BATCH], predictions[:, BATCH:], batch.targets, rows)


def check(found, loss, model):
    parts, gradients = found
    assert parts["loss"] == pytest.approx(loss.item(), abs=1e-9)
    for gradient, expected in zip(
        gradients, torch.autograd.grad(loss, list(model.parameters())), strict=True
    ):
        assert torch.allclose(gradient, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("num_views", [1, 2])
@pytest.mark.parametrize("name", SIGNALS)
def test_dcr_row_by_row_has_the_gradients_of_the_whole_grid(name, num_views):
    signal = parameters(**{"signal.name": name}).signal.build(0.1)
    model, predict, batch = setting(num_views)
    loss = signal(*whole_similarities(model, predict, batch, num_views)).mean()
    check(run("dcr", Contrast(signal=signal), num_views), loss, model)


@pytest.mark.parametrize("rows_per_chunk", [1, 5])
@pytest.mark.parametrize("rule", RULES)
def test_dcr_is_resampled_row_by_row(rule, rows_per_chunk):
    resampler = Resampler(rule, 0.3)
    model, predict, batch = setting()
    resampling = resample(*batch.clip_features, 0, torch.Tensor.detach, resampler)
    similarities = whole_similarities(model, predict, batch, 1)
    loss = resampled_losses(InfoNCE(0.1), *similarities, resampling, num_shared=1).mean()
    check(run("dcr", Contrast(resampler=resampler), 1, rows_per_chunk), loss, model)


def test_a_made_positive_pulls_outside_of_the_contrast():
    """The last of two views is the made one: the softmax sees the first alone."""
    model, predict, batch = setting(2)
    positives, negatives = whole_similarities(model, predict, batch, 2)
    contrast = InfoNCE(0.1)(positives[:, [0, 2]], negatives)
    loss = (contrast + 0.4 * (2 - 2 * positives[:, 1])).mean()
    check(run("dcr", Contrast(synthetic_weight=0.4), 2), loss, model)


def reconstruction(model, predict, batch):
    conditions = model(batch.pixels)[1][:, None]
    return F.mse_loss(
        predict(batch.noisy_latents, batch.timesteps, conditions)[:, 0], batch.targets
    )


def all_features(model, batch, num_views):
    views = model(batch.view_pixels)[0].unflatten(0, (num_views, BATCH))
    return torch.cat([model(batch.pixels)[0][None], views])


@pytest.mark.parametrize("num_views", [1, 2])
@pytest.mark.parametrize("name", [*SIGNALS, *FEATURE_SIGNALS])
def test_naive_takes_every_signal_on_its_features(name, num_views):
    signal = parameters(**{"signal.name": name}).signal.build(0.1)
    model, predict, batch = setting(num_views)
    features = all_features(model, batch, num_views)
    contrast = (
        signal(features, torch.Generator().manual_seed(9))
        if name in FEATURE_SIGNALS
        else contrast_features(features, signal)
    )
    loss = 0.3 * contrast.mean() + 0.7 * reconstruction(model, predict, batch)
    check(run("naive", Contrast(signal=signal), num_views), loss, model)


@pytest.mark.parametrize("rule", RULES)
def test_naive_is_resampled_from_both_views(rule):
    resampler = Resampler(rule, 0.3)
    model, predict, batch = setting()
    resampling = resample(*batch.clip_features, 0, torch.Tensor.detach, resampler)
    own, view = F.normalize(all_features(model, batch, 1), dim=-1)
    losses = []
    for similar in (own @ view.T, view @ own.T):
        negatives = similar.masked_fill(torch.eye(BATCH, dtype=torch.bool), -torch.inf)
        losses.append(
            resampled_losses(
                InfoNCE(0.1), similar.diagonal()[:, None], negatives, resampling, num_shared=0
            )
        )
    loss = 0.3 * torch.cat(losses).mean() + 0.7 * reconstruction(model, predict, batch)
    check(run("naive", Contrast(resampler=resampler)), loss, model)


def test_naive_pulls_towards_a_made_positive():
    model, predict, batch = setting(2)
    own, view, made = all_features(model, batch, 2)
    contrast = contrast_features(torch.stack([own, view]), InfoNCE(0.1)).mean()
    pull = 0.4 * (2 - 2 * F.cosine_similarity(own, made)).mean()
    loss = 0.3 * (contrast + pull) + 0.7 * reconstruction(model, predict, batch)
    check(run("naive", Contrast(synthetic_weight=0.4), 2), loss, model)


@pytest.mark.parametrize("method", ["dcr", "naive"])
def test_diagnostics_are_logged_and_change_nothing(method):
    plain, gradients = run(method, Contrast())
    parts, same = run(method, Contrast(diagnostics=True))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(gradients, same, strict=True))
    assert parts["loss"] == pytest.approx(plain["loss"], abs=1e-12)
    logged = {"alignment", "uniformity"} | (
        {"effective_negatives", "target_gradient_share"} if method == "dcr" else set()
    )
    assert parts.keys() - plain.keys() == logged
    if method == "dcr":
        assert 1 <= parts["effective_negatives"] <= BATCH - 1
        assert 0 < parts["target_gradient_share"] < 1


def share_of_a_batch(processes):
    """Six images, so that two processes have three each."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.rand(6, *shape, generator=generator, dtype=torch.float64)

    pixels, views, noisy, targets = draw(3, 4, 4), draw(3, 4, 4), draw(4, 2, 2), draw(4, 2, 2)
    clip, own = (draw(7) - 0.5, draw(7) - 0.5), processes.local_slice(6 // processes.count)
    batch = Batch(
        list("abcdef")[own], pixels[own], views[own], noisy[own], targets[own], torch.zeros(6)[own]
    )
    batch.clip_features = tuple(part[own] for part in clip)
    batch.signal_seed = 9
    return batch


SHARED = {rule: {"resampler": Resampler(rule, 0.3)} for rule in RULES} | {
    "hcl": {"signal": SIGNALS["hcl"](0.5, 0.1, 1.0)}
}


def shared_gradients(processes):
    found = {}
    for method in ("dcr", "naive"):
        for name, contrast in SHARED.items():
            model = TinyConditions()
            made = Contrast(gathers=True, **contrast)
            batch = share_of_a_batch(processes)
            step_of(method, model, tiny_predict(), batch, WEIGHTS, made, processes)
            processes.mean_gradients(model.parameters())
            found[f"{method} {name}"] = torch.cat([p.grad.flatten() for p in model.parameters()])
    return found


def gradients_of_a_rank(rank, count, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count
    )
    torch.save(shared_gradients(Processes(rank, count, torch.device("cpu"))), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_gradients_of_one(tmp_path):
    fork_server()
    multiprocessing.start_processes(
        gradients_of_a_rank, (2, tmp_path), nprocs=2, start_method="forkserver"
    )
    expected = shared_gradients(alone())
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, gradient in expected.items():
            assert torch.allclose(found[name], gradient, rtol=0, atol=1e-10), name
