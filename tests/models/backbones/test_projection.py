"""A map that is folded into a tower's last layer is the map behind the tower, in every family;
nothing else changes.
"""

import copy

import pytest
import torch
from transformers import AutoModel

from dcr.models.backbones import load_backbone
from dcr.models.backbones.conversion.clip import to_clip_model
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from models import (
    TEXTS,
    pixels,
    randomize,
    tiny_hf_clip,
    tiny_model_cfg,
    tiny_open_clip,
    tiny_siglip,
)
from timm_models import eva_cfg, tiny_open_clip_siglip

WRITERS = {
    "open_clip": tiny_open_clip,
    "open_clip custom": lambda folder: tiny_open_clip(folder, tiny_model_cfg(custom_text=True)),
    "clip": tiny_hf_clip,
    "siglip": tiny_siglip,
    "open_clip siglip": tiny_open_clip_siglip,
    "eva": lambda folder: tiny_open_clip(folder, eva_cfg("eva02_tiny_patch8_32")),
    "timm linear": lambda folder: tiny_open_clip(folder, timm_cfg("linear", timm_proj_bias=True)),
    "timm mlp": lambda folder: tiny_open_clip(folder, timm_cfg("mlp", timm_proj_bias=True)),
}
POOLED = ("siglip", "open_clip siglip")  # their image towers end in attention pooling
PROJECTED = tuple(family for family in WRITERS if family not in POOLED)


def timm_cfg(timm_proj, **vision):
    """Return a timm tower with a projection of open_clip's own."""
    cfg = eva_cfg("eva01_tiny_patch8_32")
    cfg["vision_cfg"] |= {"timm_proj": timm_proj, **vision}
    return cfg


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    found = {}
    for family, write in WRITERS.items():
        folder = write(tmp_path_factory.mktemp("models") / "model")
        prefix = "" if (folder / "config.json").is_file() else "local-dir:"
        found[family] = load_backbone(f"{prefix}{folder}")
    return found


def random_map(width, seed=3):
    return (
        torch.randn(width, width, generator=torch.Generator().manual_seed(seed)).double()
        / width**0.5
    )


@pytest.mark.parametrize("family", PROJECTED)
@torch.no_grad()
def test_folded_image_features_are_the_mapped_ones(backbones, family):
    backbone = copy.deepcopy(backbones[family])
    matrix = random_map(backbone.embed_dim)
    expected = backbone.encode_image(pixels()).double() @ matrix
    texts, (_, tokens) = backbone.encode_text(TEXTS), backbone.encode_tokens(pixels())
    backbone.image_projection().fold(backbone.model, matrix)

    torch.testing.assert_close(
        backbone.encode_image(pixels()).double(), expected, atol=1e-5, rtol=1e-5
    )
    embedding, tokens_after = backbone.encode_tokens(pixels())
    torch.testing.assert_close(embedding.double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(tokens_after, tokens)
    assert torch.equal(backbone.encode_text(TEXTS), texts)


@pytest.mark.parametrize("family", WRITERS)
@torch.no_grad()
def test_folded_text_features_are_the_mapped_ones(backbones, family):
    backbone = copy.deepcopy(backbones[family])
    matrix = random_map(backbone.embed_dim)
    expected = backbone.encode_text(TEXTS).double() @ matrix
    images = backbone.encode_image(pixels())
    backbone.text_projection().fold(backbone.model, matrix)

    torch.testing.assert_close(backbone.encode_text(TEXTS).double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(backbone.encode_image(pixels()), images)


@pytest.mark.parametrize("family", WRITERS)
def test_a_fold_changes_one_layer_and_no_shape(backbones, family):
    backbone = copy.deepcopy(backbones[family])
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    projection = backbone.text_projection()
    projection.fold(backbone.model, random_map(backbone.embed_dim))
    after = backbone.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {projection.weight, projection.bias} - {None}
    assert {name: tensor.shape for name, tensor in after.items()} == {
        n: t.shape for n, t in before.items()
    }


@pytest.mark.parametrize("family", POOLED)
def test_an_image_tower_that_ends_in_pooling_has_no_projection(backbones, family):
    assert backbones[family].image_projection() is None


def test_a_tower_without_text_projection_has_none():
    text = {**tiny_model_cfg()["text_cfg"], "width": 24, "proj_type": "none"}
    assert OpenClipBackbone.build(tiny_model_cfg(text_cfg=text)).text_projection() is None


@torch.no_grad()
def test_tokens_that_open_clip_gives_beside_the_embedding_stay(backbones):
    """open_clip's `output_tokens` are taken before the projection, so a fold does not reach
    them.
    """
    vision = {**tiny_model_cfg()["vision_cfg"], "output_tokens": True}
    text = {**tiny_model_cfg()["text_cfg"], "output_tokens": True}
    backbone = OpenClipBackbone.build(
        tiny_model_cfg(vision_cfg=vision, text_cfg=text, custom_text=True)
    )
    randomize(backbone.model)
    tokens = backbone.visual(pixels())[1]
    words = backbone.model.text(backbone.tokenize(TEXTS))[1]
    for projection in (backbone.image_projection(), backbone.text_projection()):
        projection.fold(backbone.model, random_map(backbone.embed_dim))
    assert torch.equal(backbone.visual(pixels())[1], tokens)
    assert torch.equal(backbone.model.text(backbone.tokenize(TEXTS))[1], words)


@torch.no_grad()
def test_other_libraries_see_the_mapped_features(backbones, tmp_path):
    """open_clip's model converted to transformers, and a transformers model saved and read
    again.
    """
    matrix = random_map(24)
    for family in ("open_clip", "clip"):
        backbone = copy.deepcopy(backbones[family])
        expected = [
            backbone.encode_image(pixels()).double() @ matrix,
            backbone.encode_text(TEXTS).double() @ matrix,
        ]
        for projection in (backbone.image_projection(), backbone.text_projection()):
            projection.fold(backbone.model, matrix)
        if family == "open_clip":
            model = to_clip_model(backbone.model, eos_token_id=49407)
        else:
            backbone.model.save_pretrained(tmp_path / "saved")
            model = AutoModel.from_pretrained(tmp_path / "saved").eval()
        found = [
            model.get_image_features(pixel_values=backbone.preprocessing.normalize(pixels())),
            model.get_text_features(input_ids=backbone.tokenize(TEXTS)),
        ]
        for features, told in zip(found, expected, strict=True):
            features = getattr(features, "pooler_output", features)
            torch.testing.assert_close(features.double(), told, atol=1e-5, rtol=1e-5)
