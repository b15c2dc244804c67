"""Batches depend on seed and step alone."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from dcr.data.views import ViewAugmentation
from dcr.latents import open_latents
from dcr.training.batches import make_batch
from dcr.training.data import StepSampler, collate, split_positions
from dcr.training.mixture import Source
from diffusion_models import tiny_diffusion
from latent_world import OPTIONS, World

VIEW = ViewAugmentation(0.1, 0.1, 0.1, 0.05, 0.0, 0.0, (0.9, 1.0), (1 / 1.1, 1.1))


class Keys(list):
    """Keys in place of a cache: all that splitting looks at."""

    def key(self, position):
        return self[position]


def test_every_sample_is_seen_once_an_epoch():
    batches = list(StepSampler([Source(range(100, 112))], 4, seed=3, steps=range(6)))
    assert [len(batch) for batch in batches] == [4] * 6
    first, second = ([position for position, _ in chain(*batches[i : i + 3])] for i in (0, 3))
    assert sorted(first) == sorted(second) == list(range(100, 112))
    assert first != second


def test_a_batch_may_span_two_epochs():
    seen = list(chain(*StepSampler([Source(range(10))], 4, seed=0, steps=range(5))))
    assert sorted(seen[:10]) == [(position, 0) for position in range(10)]
    assert sorted(seen[10:]) == [(position, 1) for position in range(10)]


def test_starting_later_continues_the_same_order():
    whole = list(StepSampler([Source(range(10))], 4, seed=0, steps=range(9)))
    assert list(StepSampler([Source(range(10))], 4, seed=0, steps=range(5, 9))) == whole[5:]


def test_the_split_follows_the_key_and_not_the_place():
    keys = Keys(f"{i:09d}" for i in range(2000))
    training, held_out = split_positions(keys, 0.1)
    assert sorted(training + held_out) == list(range(2000))
    assert len(held_out) == pytest.approx(200, abs=45)  # three standard deviations of a binomial
    moved = Keys(reversed(keys))
    assert {moved[i] for i in split_positions(moved, 0.1)[1]} == {keys[i] for i in held_out}


@pytest.fixture
def collated():
    generator = torch.Generator().manual_seed(0)
    return {
        "keys": ["a", "b", "c"],
        "crops": torch.randint(256, (3, 32, 32, 3), generator=generator, dtype=torch.uint8),
        "moments": torch.randn(3, 8, 8, 8, generator=generator),
    }


def test_a_step_draws_the_same_twice_and_another_step_differently(collated, tmp_path):
    diffusion = tiny_diffusion(tmp_path)
    one, again, other = (make_batch(collated, diffusion, VIEW, 7, step) for step in (4, 4, 5))
    for name in ("pixels", "view_pixels", "noisy_latents", "targets", "timesteps"):
        assert torch.equal(getattr(one, name), getattr(again, name))
        assert (name == "pixels") == torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_noise_and_target_follow_the_schedule(collated, tmp_path, prediction_type):
    """x_t and the target give back one noise and one latent: x = a z + s e, v = a e - s z."""
    diffusion = tiny_diffusion(tmp_path, prediction_type)
    batch = make_batch(collated, diffusion, VIEW, 7, 0)
    alpha_bar = diffusion.scheduler.alphas_cumprod[batch.timesteps].double().view(-1, 1, 1, 1)
    a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    x, target = batch.noisy_latents.double(), batch.targets.double()
    noise = target if prediction_type == "epsilon" else a * target + s * x
    latents = (x - s * noise) / a
    mean, log_variance = collated["moments"].double().chunk(2, dim=1)
    unscaled = latents / diffusion.vae.config.scaling_factor
    standardised = (unscaled - mean) / (0.5 * log_variance).exp()
    for values in (noise, standardised):  # both were drawn from a unit normal
        assert abs(values.mean().item()) < 0.15
        assert values.std().item() == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_a_cache_a_batch_is_the_same_on_the_same_crops(tmp_path, dtype):
    """Epochs 3 to 5 of three stored crops are crops 0 to 2; they went through the VAE in one
    pass, as here.
    """
    world = World.make(tmp_path)
    options = replace(OPTIONS, crops_per_image=3, dtype=dtype, batch_size=1)
    cached = world.cache(options=options)
    world.plan(replace(options, mode="online")).write(tmp_path / "online")
    online = open_latents(tmp_path / "online")
    one = make_batch(
        collate([cached[2, epoch] for epoch in (3, 4, 5)]), world.diffusion, VIEW, 0, 0
    )
    other = make_batch(
        collate([online[2, epoch] for epoch in (0, 1, 2)]), world.diffusion, VIEW, 0, 0
    )
    for name in ("pixels", "view_pixels", "noisy_latents", "targets"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_pixels_are_the_cached_crop(collated, tmp_path):
    batch = make_batch(collated, tiny_diffusion(tmp_path), VIEW, 0, 0)
    restored = (batch.pixels.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    assert np.array_equal(restored, collated["crops"].numpy())
