"""Sampling from the diffusion model, against a UNet that knows the answer and against DDIM's
formula.
"""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler

from dcr.models.generation import reconstruct, reconstruct_under_conditions
from dcr.models.projector import Projector
from diffusion_models import CROSS_ATTENTION_DIM, tiny_diffusion

CLEAN = torch.full((2, 4, 3, 3), 1.7)  # outside [-1, 1], as latents are


def stub(predict, prediction_type="epsilon", **config):
    scheduler = DDPMScheduler(num_train_timesteps=1000, prediction_type=prediction_type, **config)
    return SimpleNamespace(
        scheduler=scheduler, device=torch.device("cpu"), predict=predict, decode_latents=torch.clone
    )


def perfect_prediction(scheduler, prediction_type):
    """The prediction of a UNet for which every image is CLEAN."""

    def predict(noisy, timesteps, hidden):
        alpha = scheduler.alphas_cumprod[timesteps][:, None, None, None]
        noise = (noisy - alpha.sqrt() * CLEAN) / (1 - alpha).sqrt()
        return {
            "epsilon": noise,
            "sample": CLEAN,
            "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * CLEAN,
        }[prediction_type]

    return predict


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("num_steps", [1, 8, 50])
def test_a_perfect_unet_gives_the_clean_latents_for_each_prediction_type(
    prediction_type, num_steps
):
    schedule = DDPMScheduler(num_train_timesteps=1000)
    diffusion = stub(perfect_prediction(schedule, prediction_type), prediction_type)
    noise = torch.randn(CLEAN.shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(
        reconstruct(diffusion, torch.zeros(2, 5, 8), noise, num_steps), CLEAN, atol=2e-3
    )


def test_each_step_is_the_ddim_update_written_from_the_formula():
    def predict(noisy, timesteps, hidden):
        return 0.3 * noisy + hidden.mean(dim=(1, 2))[:, None, None, None]

    diffusion = stub(predict, "v_prediction", beta_schedule="scaled_linear")
    hidden, noise = torch.randn(2, 5, 8), torch.randn(2, 4, 3, 3)
    expected = noise.double()
    alphas = [*diffusion.scheduler.alphas_cumprod.double()[[999, 749, 499, 249]], torch.tensor(1.0)]
    for now, after in pairwise(alphas):
        velocity = predict(expected, None, hidden.double())
        clean = now.sqrt() * expected - (1 - now).sqrt() * velocity
        direction = now.sqrt() * velocity + (1 - now).sqrt() * expected
        expected = after.sqrt() * clean + (1 - after).sqrt() * direction
    assert torch.allclose(
        reconstruct(diffusion, hidden, noise, num_steps=4).double(), expected, atol=1e-5
    )


def test_guidance_extrapolates_from_the_empty_prompt():
    hidden, empty, noise = torch.ones(2, 5, 8), torch.zeros(1, 5, 8), torch.randn(2, 4, 3, 3)

    def predict(noisy, timesteps, hidden):
        return noisy * 0 + hidden.mean(dim=(1, 2))[:, None, None, None]

    tripled = reconstruct(stub(predict), hidden * 3, noise, num_steps=5)
    guided = reconstruct(
        stub(predict), hidden, noise, num_steps=5, guidance_scale=3.0, empty_prompt=empty
    )
    assert torch.allclose(guided, tripled, atol=1e-5)
    with pytest.raises(ValueError, match="empty_prompt must be given"):
        reconstruct(stub(predict), hidden, noise, num_steps=5, guidance_scale=3.0)


@pytest.mark.parametrize("num_steps", [0, 7, 2000])
def test_a_number_of_steps_that_does_not_divide_the_schedule_is_refused(num_steps):
    diffusion = stub(perfect_prediction(DDPMScheduler(), "epsilon"))
    with pytest.raises(
        ValueError, match=f"num_steps must divide the 1000 timesteps .*, got {num_steps}"
    ):
        reconstruct(diffusion, torch.zeros(2, 5, 8), torch.zeros(2, 4, 3, 3), num_steps)


def test_the_same_noise_and_condition_give_the_same_image_bit_for_bit():
    diffusion = stub(lambda noisy, timesteps, hidden: noisy.tanh(), "v_prediction")
    hidden, noise = torch.randn(2, 5, 8), torch.randn(2, 4, 3, 3)
    first = reconstruct(diffusion, hidden, noise, num_steps=10)
    assert torch.equal(first, reconstruct(diffusion, hidden, noise, num_steps=10))


class ScaledPixels:
    """An encoder whose feature is the mean colour, times a factor."""

    device = torch.device("cpu")

    def __init__(self, factor):
        self.factor = factor

    def encode_image(self, pixels):
        return self.factor * pixels.mean(dim=(2, 3))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    diffusion = tiny_diffusion(tmp_path_factory.mktemp("tokenizer"))
    torch.manual_seed(0)
    projector, pixels = Projector(3, CROSS_ATTENTION_DIM), torch.rand(2, 3, 32, 32)
    encoders = {"base": ScaledPixels(1.0), "same": ScaledPixels(1.0), "other": ScaledPixels(-3.0)}
    with torch.no_grad():
        projector[3].weight.mul_(20)  # loud enough for a random UNet to hear
    generator = torch.Generator().manual_seed(0)
    images = reconstruct_under_conditions(
        diffusion, projector, encoders, pixels, generator, num_steps=2
    )
    return SimpleNamespace(diffusion=diffusion, projector=projector, pixels=pixels, images=images)


def test_each_condition_gives_one_image_a_sample(drawn):
    assert list(drawn.images) == ["vae", "empty_prompt", "base", "same", "other"]
    for images in drawn.images.values():
        assert images.shape == (2, 3, 32, 32)
        assert images.min() >= 0
        assert images.max() <= 1


def test_images_differ_by_their_condition_alone(drawn):
    assert torch.equal(drawn.images["base"], drawn.images["same"])
    assert not torch.equal(drawn.images["base"], drawn.images["other"])
    assert not torch.equal(drawn.images["base"], drawn.images["empty_prompt"])


def test_an_encoders_image_is_drawn_from_the_empty_prompt_plus_its_projection(drawn):
    empty = drawn.diffusion.encode_prompts([""])
    with torch.no_grad():
        hidden = empty + drawn.projector(drawn.pixels.mean(dim=(2, 3)))[:, None]
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        drawn.images["base"], reconstruct(drawn.diffusion, hidden, noise, num_steps=2)
    )


def test_the_vae_alone_is_the_decoded_mean_of_the_moments(drawn):
    vae = drawn.diffusion.vae
    with torch.no_grad():
        expected = vae.decode(vae.encode(drawn.pixels * 2 - 1).latent_dist.mean).sample / 2 + 0.5
    assert torch.allclose(drawn.images["vae"], expected.clamp(0, 1), atol=1e-5)
