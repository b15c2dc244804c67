"""A diffusion model that needs other inputs than noisy latents, timesteps and one text
encoder's tokens is refused.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from dcr.errors import UserError
from dcr.models.diffusion import load_diffusion
from dcr.models.diffusion_source import check_diffusion
from diffusion_models import tiny_diffusion


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("diffusion")
    tiny_diffusion(root / "tokenizer").save(root / "model")
    return root / "model"


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def refused(folder, told):
    """Both loading and pipeline `models` refuse the folder, and say why."""
    for use in (load_diffusion, lambda source: check_diffusion(folder, source)):
        with pytest.raises(UserError, match=told):
            use(str(folder))


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_whole_model_passes(folder):
    check_diffusion(folder, "m")
    assert load_diffusion(str(folder)).unet.config.in_channels == 4


UNET = [
    ({"in_channels": 9}, "its unet takes 9 channels, and its vae makes 4"),
    ({"in_channels": 5}, "its unet takes 5 channels"),
    ({"in_channels": 8}, "its unet takes 8 channels"),
    ({"out_channels": 8}, "its unet predicts 8 channels"),
    ({"class_embed_type": "timestep"}, "class labels"),
    ({"num_class_embeds": 1000}, "class labels"),
    (
        {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 8},
        "class labels",
    ),
    (
        {"addition_embed_type": "text_time", "addition_time_embed_dim": 8},
        "added conditions, as SDXL has",
    ),
    ({"encoder_hid_dim": 8, "encoder_hid_dim_type": "text_proj"}, "projected conditions"),
    ({"time_cond_proj_dim": 256}, "a guidance embedding"),
    (
        {"cross_attention_dim": 768},
        "its unet's cross_attention_dim is 768, and its text encoder is 16 wide",
    ),
    ({"cross_attention_dim": [16, 16]}, r"cross_attention_dim is \[16, 16\]"),
    ({"cross_attention_dim": None}, "cross_attention_dim is None"),
    ({"_class_name": "UNet2DModel"}, "its unet is a 'UNet2DModel'"),
    ({"_class_name": "SD3Transformer2DModel"}, "its unet is a 'SD3Transformer2DModel'"),
]


@pytest.mark.parametrize(("values", "told"), UNET)
def test_a_unet_with_other_inputs(folder, values, told):
    change(folder / "unet/config.json", **values)
    refused(folder, told)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"latent_channels": 16}, "its unet takes 4 channels, and its vae makes 16"),
        ({"in_channels": 1}, "not one of RGB images"),
        ({"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}, "latents_mean and latents_std"),
        ({"_class_name": "AutoencoderTiny"}, "its vae is a 'AutoencoderTiny'"),
        ({"_class_name": ["my_module", "Class"]}, "its vae is a"),
    ],
)
def test_a_vae_of_another_kind(folder, values, told):
    change(folder / "vae/config.json", **values)
    refused(folder, told)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"prediction_type": "flow_prediction"},
            "prediction_type must be epsilon, v_prediction, sample",
        ),
        (
            {"_class_name": "FlowMatchEulerDiscreteScheduler"},
            "its scheduler is a 'FlowMatchEulerDiscreteScheduler'",
        ),
        ({"_class_name": "EDMEulerScheduler"}, "its scheduler is a 'EDMEulerScheduler'"),
        ({"use_flow_sigmas": True}, "flow matching"),
        ({"beta_end": float("nan")}, r"scheduler_config\.json is no noise schedule"),
        ({"beta_end": 2.0}, r"scheduler_config\.json is no noise schedule"),
        ({"beta_end": [1]}, r"scheduler_config\.json cannot be built"),
        ({"beta_schedule": "quick"}, r"scheduler_config\.json cannot be built"),
        ({"num_train_timesteps": "many"}, "num_train_timesteps 'many'"),
    ],
)
def test_a_schedule_of_another_kind(folder, values, told):
    change(folder / "scheduler/scheduler_config.json", **values)
    refused(folder, told)


@pytest.mark.parametrize("part", ["text_encoder_2", "tokenizer_2", "transformer", "image_encoder"])
def test_more_parts_than_one_text_encoder(folder, part):
    (folder / part).mkdir()
    refused(folder, f"it has a part {part}")


@pytest.mark.parametrize("architecture", ["T5EncoderModel", "CLIPTextModelWithProjection"])
def test_a_text_encoder_of_another_kind(folder, architecture):
    change(folder / "text_encoder/config.json", architectures=[architecture])
    refused(folder, f"its text_encoder is a {architecture!r}")


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_weights_that_are_missing_are_not_filled_with_random_ones(folder, part):
    path = next((folder / part).glob("*.safetensors"))
    state = load_file(path)
    name = sorted(state)[0]
    del state[name]
    save_file(state, path)
    refused(folder, "1 weight is missing")


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_a_pickle_in_the_place_of_weights_is_never_opened(folder, part):
    path = next((folder / part).glob("*.safetensors"))
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    refused(folder, "has a config but no weights")


def test_old_names_of_a_vaes_attention_are_read(folder):
    path = folder / "vae/diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = original = load_file(path)
    for new, name in old.items():
        state = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in state.items()}
    assert any(".query." in key for key in state)
    save_file(state, path)
    check_diffusion(folder, "m")
    for name, tensor in load_diffusion(str(folder)).vae.state_dict().items():
        assert torch.equal(tensor, original[name])


class TestTokenizer:
    def test_a_length_that_is_not_stated_is_the_text_encoders(self, folder):
        path = folder / "tokenizer/tokenizer_config.json"
        config = json.loads(path.read_text())
        del config["model_max_length"]
        path.write_text(json.dumps(config))
        assert load_diffusion(str(folder)).encode_prompts(["a"]).shape == (1, 12, 16)

    @pytest.mark.parametrize("length", ["gelu", 1e-30, 0, -1, [7]])
    def test_a_length_that_is_none_is_refused(self, folder, length):
        change(folder / "tokenizer/tokenizer_config.json", model_max_length=length)
        with pytest.raises(UserError, match=r"diffusion model .* get the whole model again"):
            load_diffusion(str(folder))

    def test_a_tokenizer_that_cannot_pad_is_refused(self, folder):
        change(folder / "tokenizer/tokenizer_config.json", pad_token=None)
        with pytest.raises(UserError, match="no pad_token"):
            load_diffusion(str(folder))

    @pytest.mark.parametrize("value", ["4\n\n", [4], None])
    def test_a_value_with_line_feeds_is_told_in_one_line(self, folder, value):
        change(folder / "vae/config.json", latent_channels=value)
        with pytest.raises(UserError) as error:
            load_diffusion(str(folder))
        assert "\n" not in str(error.value)

    def test_a_length_beyond_the_text_encoders_is_refused(self, folder):
        change(folder / "tokenizer/tokenizer_config.json", model_max_length=77)
        with pytest.raises(
            UserError,
            match="its tokenizer makes 77 tokens of 258 kinds, its text encoder takes 12 of",
        ):
            load_diffusion(str(folder))
