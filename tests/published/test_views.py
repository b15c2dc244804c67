"""`published: all`, part by part and all together, against the published formulas written
down straight.
"""

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torchvision import transforms

from dcr.losses.dcr import dcr_similarities
from dcr.losses.infonce import infonce, published_infonce
from dcr.parameters.training.published import PARTS, VIEWS
from dcr.published.views import OPENAI_MEAN, OPENAI_STD, with_openai_normalization
from dcr.training.batches import make_batch
from dcr.training.contrast import build_contrast
from dcr.training.data import collate
from dcr.training.distributed.processes import Processes, alone
from dcr.training.mixture import Source
from dcr.training.model import ConditionModel
from dcr.training.monitoring.monitor import Monitor
from dcr.training.runs import STAGE1
from dcr.training.stages import load_projector
from dcr.training.step import MicroStep
from dcr.training.trainer import Trainer
from dcr.training.views import view_augmentation
from diffusion_models import tiny_diffusion
from training_world import fixed_projector, load_world, parameters, run_of, write_world

BATCH = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def world(folder):
    return load_world(folder)


@pytest.fixture
def collated(world):
    return collate([world[2][i] for i in range(BATCH)])


def views_of(preprocessing, **changes):
    return view_augmentation(parameters(**changes), preprocessing)


def test_all_stands_for_every_part_and_for_the_published_strengths_of_the_views():
    on = parameters(published="all")
    assert on.published == list(PARTS)
    assert on.views == parameters().views.model_copy(update=VIEWS)
    assert parameters().published == []


def torchvisions_view(image, mean, std, seed):
    """The published transform of one image, as its listing has it."""
    jitter = transforms.ColorJitter(0.1, 0.1, 0.1, 0.05)
    flips = [transforms.RandomHorizontalFlip(0.5), transforms.RandomVerticalFlip(0.5)]
    crop = transforms.RandomResizedCrop(image.shape[-1], scale=(0.9, 1.0), ratio=(0.9, 1.1))
    torch.manual_seed(seed)
    return transforms.Compose([jitter, *flips, crop])(
        transforms.Normalize(mean, std)(image).bfloat16()
    )


def test_views_are_jittered_after_normalisation(world, collated):
    preprocessing = with_openai_normalization(world[0]).preprocessing
    views = views_of(preprocessing, published="all")
    pixels = collated["crops"].permute(0, 3, 1, 2).float() / 255
    draws = views.draw(BATCH, torch.Generator().manual_seed(3))
    state = torch.get_rng_state()
    found = preprocessing.normalize(views.apply(pixels, draws))
    assert torch.equal(torch.get_rng_state(), state)
    for image, view, seed in zip(pixels, found, draws.flatten().tolist(), strict=True):
        expected = torchvisions_view(image, preprocessing.mean, preprocessing.std, seed).float()
        assert torch.allclose(view, expected, atol=1e-5)
    assert preprocessing.normalize(pixels).min() < -1  # and nothing of it is left in the views
    assert found.min() > -1e-5


def test_the_target_is_the_velocity_also_of_a_model_that_predicts_noise(collated, tmp_path, world):
    diffusion = tiny_diffusion(tmp_path, "epsilon")
    views = views_of(world[0].preprocessing)
    right, published = (
        make_batch(collated, diffusion, views, 0, 1, published=parts) for parts in ([], ["target"])
    )
    alpha_bar = diffusion.scheduler.alphas_cumprod[right.timesteps].view(-1, 1, 1, 1)
    noise = right.targets
    latents = (right.noisy_latents - (1 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()
    expected = alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * latents
    assert torch.allclose(published.targets, expected, atol=1e-4)
    assert torch.equal(published.noisy_latents, right.noisy_latents)


def test_noise_in_bfloat16_vanishes_at_the_first_timesteps(world):
    diffusion = world[1]
    latents, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    first = torch.tensor([0])
    published, right = (
        diffusion.add_noise(latents, noise, first, dtype)
        for dtype in (torch.bfloat16, torch.float32)
    )
    assert torch.equal(published, latents.bfloat16().float())
    assert not torch.allclose(right, latents, atol=1e-2)


def test_the_prompts_padding_is_masked(world):
    diffusion = world[1]
    tokens = diffusion.tokenizer([""], padding="max_length", return_tensors="pt")
    assert tokens.attention_mask.sum() < tokens.attention_mask.numel()
    expected = diffusion.text_encoder(
        tokens.input_ids, attention_mask=tokens.attention_mask
    ).last_hidden_state
    assert torch.equal(diffusion.encode_prompts([""], mask_padding=True), expected)
    assert not torch.allclose(diffusion.encode_prompts([""]), expected, atol=1e-3)


def test_openais_normalisation_replaces_the_towers_own_in_training_alone(world):
    backbone, pixels = (
        world[0],
        torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
    )
    own = backbone.preprocessing
    expected = backbone.visual(transforms.Normalize(OPENAI_MEAN, OPENAI_STD)(pixels))
    assert torch.allclose(
        with_openai_normalization(backbone).encode_image(pixels), expected, atol=1e-6
    )
    assert not torch.allclose(backbone.encode_image(pixels), expected, atol=1e-3)
    assert backbone.preprocessing is own


def published_loss_by_loops(predictions, view_predictions, targets, temperature):
    """Mean over anchors of half the two terms, every number in bfloat16."""
    predictions, view_predictions, targets = (
        t.bfloat16() for t in (predictions, view_predictions, targets)
    )

    def weight(a, b):
        return torch.exp(F.cosine_similarity(a.flatten(), b.flatten(), dim=0) / temperature)

    terms = []
    for i, row in enumerate(predictions):
        positives = [weight(row[i], p) for p in (view_predictions[i], targets[i])]
        denominator = sum(positives) + sum(
            weight(row[i], row[k]) for k in range(len(row)) if k != i
        )
        terms.append(sum(-torch.log(positive / denominator) for positive in positives) / 2)
    return torch.stack(terms)


@pytest.fixture
def grid():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(BATCH, 1, 4, 6, 6, generator=generator)
    near = base + 0.5 * torch.randn(BATCH, BATCH + 2, 4, 6, 6, generator=generator)
    return near[:, :BATCH], near[:, BATCH], near[:, BATCH + 1]


def published_rows(grid, temperature):
    predictions, views, targets = grid
    similarities = dcr_similarities(
        predictions, views[:, None], targets, torch.arange(BATCH), torch.bfloat16
    )
    return published_infonce(*similarities, temperature)


def test_the_loss_is_a_logarithm_of_exponentials_in_bfloat16(grid):
    losses, expected = published_rows(grid, 0.1), published_loss_by_loops(*grid, 0.1)
    assert losses.dtype == expected.dtype == torch.bfloat16
    assert torch.allclose(losses.float(), expected.float(), rtol=0.02)


def test_the_published_loss_is_nan_at_small_temperatures(grid):
    predictions, _, targets = grid
    # exp(1 / tau) is beyond bfloat16.
    matching = predictions[torch.arange(BATCH), torch.arange(BATCH)]
    assert published_rows((predictions, matching, targets), 0.010).isnan().all()
    similarities = dcr_similarities(predictions, matching[:, None], targets, torch.arange(BATCH))
    assert infonce(*similarities, 0.010).isfinite().all()


class OneOfTwo(Processes):
    """One of two processes, without the other; it counts exchanges of gradients."""

    exchanges = 0

    def mean_gradients(self, parameters):
        OneOfTwo.exchanges += 1

    def broadcast(self, value):
        return value


def open_trainer(world, folder, name, processes, **changes):
    backbone, diffusion, latents = world
    p = parameters(**changes)
    model = ConditionModel(backbone, load_projector(fixed_projector(folder))).requires_grad_(False)
    model.projector.requires_grad_(True)
    views = view_augmentation(p, backbone.preprocessing)
    run = run_of(p, name)
    micro_step = MicroStep(model, diffusion, views, run, build_contrast(run), processes)
    watch = partial(Monitor, micro_step, None, None)
    sources = [Source(range(len(latents)))]
    return Trainer(micro_step, lambda: latents, sources, lambda: 0.0, None, watch)


@pytest.mark.parametrize("published", [False, True])
def test_every_process_reads_the_same_samples(world, folder, published):
    keys = []
    for rank in range(2):
        processes = OneOfTwo(rank, 2, torch.device("cpu"))
        trainer = open_trainer(world, folder, STAGE1, processes, published=["sampling"] * published)
        keys.append([key for batch in trainer.batches(trainer.resume()) for key in batch["keys"]])
    assert (keys[0] == keys[1]) == published


@pytest.mark.parametrize(
    ("name", "published", "exchanges"), [(STAGE1, False, 1), (STAGE1, True, 0), ("dcr", True, 1)]
)
def test_gradients_of_stage_1_are_not_reduced(world, folder, name, published, exchanges):
    OneOfTwo.exchanges = 0
    trainer = open_trainer(
        world,
        folder,
        name,
        OneOfTwo(1, 2, torch.device("cpu")),
        published=["reduction"] * published,
        **{"stage1.loss": "dcr"},
    )
    progress = trainer.resume()
    row, seen = trainer.optimizer_step(1, trainer.batches(progress), 2)
    trainer.update(row, seen[0].keys, progress)
    assert OneOfTwo.exchanges == exchanges


def test_a_published_step_as_a_whole(world, folder, collated):
    """From crops to loss and gradient, everything switched on, beside a transcription that
    shares only the draws.
    """
    p = parameters(published="all")
    backbone, diffusion, _ = world
    backbone = with_openai_normalization(backbone)
    model = ConditionModel(backbone, load_projector(fixed_projector(folder))).requires_grad_(False)
    model.projector.requires_grad_(True)
    views = view_augmentation(p, backbone.preprocessing)
    run = run_of(p, "dcr")
    micro_step = MicroStep(model, diffusion, views, run, build_contrast(run), alone())
    parts, batch = micro_step(collated, 5, p.execution.rows_per_chunk)
    gradient = torch.cat([w.grad.flatten() for w in model.projector.parameters()])
    model.zero_grad(set_to_none=True)

    expected = transcribed_loss(
        diffusion, model.projector, backbone.visual, collated, batch.timesteps, step=5
    )
    expected.backward()
    expected_gradient = torch.cat([w.grad.flatten() for w in model.projector.parameters()])
    assert parts["loss"] == pytest.approx(expected.item(), rel=0.02)
    assert F.cosine_similarity(gradient, expected_gradient, dim=0) > 0.98
    assert math.isclose(gradient.norm(), expected_gradient.norm(), rel_tol=0.1)


def transcribed_loss(diffusion, projector, visual, collated, timesteps, step):
    from dcr.seeds import torch_generator

    images = transforms.Normalize(OPENAI_MEAN, OPENAI_STD)(
        collated["crops"].permute(0, 3, 1, 2) / 255
    )
    seeds = torch.randint(2**62, (BATCH,), generator=torch_generator(0, "view", step)).tolist()
    pixels = collated["crops"].permute(0, 3, 1, 2) / 255
    views = torch.stack(
        [
            torchvisions_view(x, OPENAI_MEAN, OPENAI_STD, s)
            for x, s in zip(pixels, seeds, strict=True)
        ]
    )
    mean, log_variance = collated["moments"].chunk(2, dim=1)
    draws = (
        torch.randn(mean.shape, generator=torch_generator(0, name, step))
        for name in ("latent", "noise")
    )
    latents = (
        mean + (0.5 * log_variance).exp() * next(draws)
    ) * diffusion.vae.config.scaling_factor
    latents, noise = latents.bfloat16(), next(draws).bfloat16()
    alpha_bar = diffusion.scheduler.alphas_cumprod.bfloat16()[timesteps].view(-1, 1, 1, 1)
    noisy = (alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise).float()
    target = (alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * latents).float()
    tokens = diffusion.tokenizer([""], padding="max_length", return_tensors="pt")
    prompt = diffusion.text_encoder(
        tokens.input_ids, attention_mask=tokens.attention_mask
    ).last_hidden_state
    own, other = (prompt + projector(visual(x.float()))[:, None] for x in (images, views))

    def predict(i, condition):
        return diffusion.unet(noisy[[i]], timesteps[[i]], condition[None]).sample[0]

    grid = torch.stack(
        [torch.stack([predict(i, own[k]) for k in range(BATCH)]) for i in range(BATCH)]
    )
    view_predictions = torch.stack([predict(i, other[i]) for i in range(BATCH)])
    return published_loss_by_loops(grid, view_predictions, target, 0.1).mean()
