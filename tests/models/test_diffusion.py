"""The frozen diffusion model against diffusers' own formulas, and what is said of a broken
folder.
"""

import shutil

import pytest
import torch

from dcr.errors import UserError
from dcr.models.diffusion import PARTS, load_diffusion
from diffusion_models import tiny_diffusion


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diffusion")
    tiny_diffusion(folder / "tokenizer_source").save(folder / "model")
    return folder / "model"


@pytest.fixture
def diffusion(folder):
    return load_diffusion(str(folder))


def test_a_saved_model_loads_with_equal_weights_and_tokens(folder, diffusion, tmp_path):
    original = tiny_diffusion(tmp_path)
    for part in ("vae", "unet", "text_encoder"):
        before, after = (getattr(m, part).state_dict() for m in (original, diffusion))
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(
        original.encode_prompts(["", "a fish"]), diffusion.encode_prompts(["", "a fish"])
    )


def test_every_part_is_frozen(diffusion):
    for part in (diffusion.vae, diffusion.unet, diffusion.text_encoder):
        assert not part.training
        assert not any(p.requires_grad for p in part.parameters())


def test_noise_is_added_in_float32_even_to_bfloat16(diffusion):
    latents = torch.randn(2, 4, 8, 8, dtype=torch.bfloat16)
    noisy = diffusion.add_noise(latents, torch.ones_like(latents), torch.tensor([0, 0]))
    alpha_bar = diffusion.scheduler.alphas_cumprod[0].double()
    expected = alpha_bar.sqrt() * latents.double() + (1 - alpha_bar).sqrt()
    assert noisy.dtype == torch.float32
    assert torch.allclose(noisy.double(), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_target_follows_the_prediction_type(tmp_path, kind):
    diffusion = tiny_diffusion(tmp_path, kind)
    latents, noise, t = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    alpha_bar = diffusion.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    velocity = alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * latents
    expected = {"epsilon": noise, "v_prediction": velocity, "sample": latents}[kind]
    assert torch.allclose(diffusion.target(latents, noise, t), expected, atol=1e-6)


def test_scaling_is_undone_by_decoding(diffusion):
    latents = torch.randn(1, 4, 8, 8)
    direct = (diffusion.vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(
        diffusion.decode_latents(diffusion.scale_latents(latents)), direct, atol=1e-5
    )


def test_prediction_is_the_unets_own(diffusion):
    noisy, t, tokens = torch.randn(2, 4, 8, 8), torch.tensor([3, 500]), torch.randn(2, 12, 16)
    assert torch.equal(diffusion.predict(noisy, t, tokens), diffusion.unet(noisy, t, tokens).sample)


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(folder, tmp_path, part):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    shutil.rmtree(broken / part)
    with pytest.raises(UserError, match=f"{part}/.* is missing"):
        load_diffusion(str(broken))


def test_a_missing_folder_is_named():
    with pytest.raises(UserError, match="no such folder"):
        load_diffusion("./nowhere/model")


def test_damaged_weights_are_named(folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(
        UserError, match=r"unet/diffusion_pytorch_model\.safetensors is no whole safetensors file"
    ):
        load_diffusion(str(broken))
