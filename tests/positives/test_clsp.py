"""Feature interpolation: plain DDIM at w = 1, the anchor's features at w = 0, and a sample of
its own in any batch.
"""

import pytest
import torch
from diffusers import StableDiffusionPipeline

from dcr.errors import UserError
from dcr.models.generation import ddim_scheduler
from dcr.positives.clsp import encode_to_middle, sample_like
from diffusion_models import tiny_diffusion

SEEDS = [11, 12, 13]


@pytest.fixture(scope="module", params=["v_prediction", "epsilon"])
def diffusion(request, tmp_path_factory):
    return tiny_diffusion(tmp_path_factory.mktemp("tokenizer"), request.param)


@pytest.fixture
def anchors():
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def sample(diffusion, anchors, sample_weight, seeds=SEEDS, eta=0.1):
    hidden = diffusion.encode_prompts([""] * len(anchors))
    return sample_like(
        diffusion, anchors, hidden, seeds, num_steps=5, eta=eta, sample_weight=sample_weight
    )


@pytest.mark.parametrize("eta", [0.0, 0.1])
def test_is_diffusers_own_pipeline_bit_for_bit_at_weight_one(diffusion, anchors, eta):
    pipeline = StableDiffusionPipeline(
        diffusion.vae,
        diffusion.text_encoder,
        diffusion.tokenizer,
        diffusion.unet,
        ddim_scheduler(diffusion, 5),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        [""] * 3,
        height=32,
        width=32,
        num_inference_steps=5,
        guidance_scale=1.0,
        eta=eta,
        output_type="latent",
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
    ).images
    assert torch.equal(sample(diffusion, anchors, 1.0, eta=eta), expected)


def test_without_the_samples_own_features_the_decoder_sees_the_anchors(diffusion, anchors):
    """At w = 0 and one step the prediction is that of a UNet whose middle block gives the
    anchor's features.
    """
    hidden, timesteps = diffusion.encode_prompts([""] * 3), torch.full((3,), 999)
    own = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    noise = torch.cat([torch.randn(1, 4, 8, 8, generator=generator) for generator in own])
    seen = []
    handle = diffusion.unet.up_blocks[0].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["hidden_states"]), with_kwargs=True
    )
    try:
        sample_like(diffusion, anchors, hidden, SEEDS, num_steps=1, eta=0.0, sample_weight=0.0)
        sample_like(diffusion, anchors, hidden, SEEDS, num_steps=1, eta=0.0, sample_weight=1.0)
        sample_like(diffusion, anchors, hidden, SEEDS, num_steps=1, eta=0.0, sample_weight=0.25)
    finally:
        handle.remove()
    middle, plain, mixed = seen
    assert torch.equal(plain, encode_to_middle(diffusion, noise, timesteps, hidden))
    assert torch.allclose(mixed, 0.25 * plain + 0.75 * middle, atol=1e-6)
    assert not torch.allclose(middle, plain)


def test_the_middle_is_what_the_decoder_would_get_and_leaves_no_hook(diffusion, anchors):
    hidden, timesteps = diffusion.encode_prompts([""] * 3), torch.full((3,), 400)
    before = diffusion.predict(anchors, timesteps, hidden)
    seen = []
    handle = diffusion.unet.mid_block.register_forward_hook(
        lambda _, __, output: seen.append(output)
    )
    diffusion.predict(anchors, timesteps, hidden)
    handle.remove()
    assert torch.equal(encode_to_middle(diffusion, anchors, timesteps, hidden), seen[0])
    assert torch.equal(diffusion.predict(anchors, timesteps, hidden), before)


def test_the_anchor_matters_below_weight_one(diffusion, anchors):
    assert not torch.equal(sample(diffusion, anchors, 0.1), sample(diffusion, anchors.flip(0), 0.1))
    assert torch.equal(sample(diffusion, anchors, 1.0), sample(diffusion, anchors.flip(0), 1.0))


def test_the_same_seeds_give_the_same_samples_bit_for_bit(diffusion, anchors):
    assert torch.equal(sample(diffusion, anchors, 0.1), sample(diffusion, anchors, 0.1))


def test_a_sample_does_not_depend_on_its_batch(diffusion, anchors):
    whole = sample(diffusion, anchors, 0.1)
    alone = sample(diffusion, anchors[1:2], 0.1, SEEDS[1:2])
    assert torch.allclose(whole[1:2], alone, atol=1e-4)


def test_a_unet_without_a_middle_is_refused(diffusion, anchors, monkeypatch):
    monkeypatch.setattr(diffusion.unet, "mid_block", None)
    with pytest.raises(UserError, match="no middle block"):
        sample(diffusion, anchors, 0.1)
