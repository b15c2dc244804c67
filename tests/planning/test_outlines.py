"""Models by their shapes: those of a folder that is here, and those that recipes name."""

import shutil

import pytest
import torch

from dcr.errors import UserError
from dcr.models.architectures import BACKBONES
from dcr.models.backbones import load_backbone
from dcr.models.diffusion import load_diffusion
from dcr.planning.outlines import Outlines, outline_backbone, outline_diffusion, outlines
from models import tiny_hf_clip, tiny_open_clip
from training_world import write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def shapes(module):
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def test_a_folder_of_open_clip_is_outlined_as_it_is_loaded(world):
    source = f"local-dir:{world / 'clip'}"
    loaded = load_backbone(source)
    with outlines(source, "").opened():
        outlined = outline_backbone(source)
    assert shapes(outlined.model) == shapes(loaded.model)
    assert outlined.preprocessing == loaded.preprocessing
    assert outlined.embed_dim == loaded.embed_dim


def test_a_folder_of_transformers_is_outlined_as_it_is_loaded(tmp_path):
    tiny_hf_clip(tmp_path)
    loaded = load_backbone(str(tmp_path))
    with outlines(str(tmp_path), "").opened():
        outlined = outline_backbone(str(tmp_path))
    assert shapes(outlined.model) == shapes(loaded.model)
    assert outlined.preprocessing == loaded.preprocessing


def test_a_folder_of_diffusers_is_outlined_as_it_is_loaded(world):
    source = str(world / "diffusion")
    loaded = load_diffusion(source)
    with outlines("", source).opened():
        outlined = outline_diffusion(source)
    for part in ("vae", "unet", "text_encoder"):
        assert shapes(getattr(outlined, part)) == shapes(getattr(loaded, part))
    assert torch.equal(outlined.scheduler.betas, loaded.scheduler.betas)
    assert outlined.tokenizer.model_max_length == loaded.tokenizer.model_max_length


def test_weights_are_not_read(tmp_path):
    tiny_open_clip(tmp_path / "clip")
    for path in (tmp_path / "clip").glob("*.safetensors"):
        path.write_bytes(b"no weights")
    source = f"local-dir:{tmp_path / 'clip'}"
    with outlines(source, "").opened():
        assert outline_backbone(source).embed_dim > 0
    shutil.rmtree(tmp_path / "clip")
    with pytest.raises(UserError, match="does not exist"):
        outline_backbone(source)


@pytest.mark.parametrize("name", ["sd-1.5", "sd-2.1-base"])
def test_a_diffusion_model_that_is_not_here_is_known_by_its_name(name):
    with outlines("", name).opened():
        outlined = outline_diffusion(name)
        states = outlined.encode_prompts([""])
    assert states.shape == (1, 77, outlined.unet.config.cross_attention_dim)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_that_is_not_here_is_known_by_its_name(name):
    source = f"hf-hub:{name}" if "DFN" in name else name
    with outlines(source, "").opened():
        outlined = outline_backbone(source)
        pixels = torch.zeros(1, 3, outlined.image_size, outlined.image_size)
        assert outlined.encode_image(pixels).shape == (1, outlined.embed_dim)


def test_what_is_neither_here_nor_known_tells_what_gets_it():
    command = "kedro run --env <recipe> --pipelines models"
    with pytest.raises(UserError, match=command):
        outline_backbone("acme/clip-huge@main")
    with pytest.raises(UserError, match=command):
        outline_diffusion("acme/diffusion@main")


def test_small_models_may_have_memory():
    models = Outlines(lambda: None, lambda: None, has_memory=True)
    with models.opened():
        assert torch.ones(2).sum().item() == 2.0
