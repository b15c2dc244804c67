"""Which images and captions an alignment sees, and their embeddings: those of the encoder, at
unit length, in order.
"""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dcr.alignment.samples import Split, choose_samples, embed_captions, embed_samples
from dcr.errors import UserError
from dcr.latents import LatentCache, OnlineLatents
from dcr.models.backbones import load_backbone
from dcr.training.data import split_positions
from latent_world import OPTIONS, World
from models import tiny_open_clip

NONE, BOTH = (False, False), (True, True)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World.make(tmp_path_factory.mktemp("world"), num_shards=2, images_per_shard=12)


@pytest.fixture(scope="module")
def latents(world):
    return world.cache()


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return load_backbone(f"local-dir:{tiny_open_clip(tmp_path_factory.mktemp('clip') / 'm')}")


def choose(latents, captions=NONE, max_images=0, seed=0, fraction=0.4):
    return choose_samples(latents, fraction, max_images, seed, captions)


def test_the_parts_are_those_that_training_trained_on_and_held_out(latents):
    fit, held_out = choose(latents)
    assert (fit.positions, held_out.positions) == split_positions(latents, 0.4)
    assert fit.captions is held_out.captions is None


def test_captions_are_those_of_their_images(latents):
    for part in choose(latents, BOTH):
        assert part.captions == [latents.record(position)["caption"] for position in part.positions]
        assert part.captions[0].startswith("caption ")


@pytest.mark.parametrize("caption", [None, "", " \n", float("nan")])
def test_samples_without_a_caption_are_left_out_where_captions_are_read(
    latents, monkeypatch, caption
):
    whole = choose(latents)[0].positions
    monkeypatch.setattr(
        LatentCache, "caption", lambda self, place: caption if place == whole[1] else "words"
    )
    assert choose(latents, BOTH)[0].positions == [whole[0], *whole[2:]]
    assert choose(latents, NONE)[0].positions == whole


def test_some_of_many_are_drawn_by_the_seed(latents):
    whole = choose(latents)
    drawn = [choose(latents, max_images=3, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    for part, all_of_it in zip(drawn[0], whole, strict=True):
        assert len(part) == 3
        assert set(part.positions) < set(all_of_it.positions)
        assert part.positions == sorted(part.positions)


def test_too_few_captions_name_the_form_that_reads_none(latents, monkeypatch):
    monkeypatch.setattr(LatentCache, "caption", lambda self, place: None)
    with pytest.raises(
        UserError, match=r"has 0 training samples with a caption.*alignment.form to image"
    ):
        choose(latents, BOTH)


def test_too_few_held_out_images_are_told(latents):
    with pytest.raises(
        UserError, match=r"has 0 held-out samples, but.*or change training.held_out.fraction"
    ):
        choose(latents, fraction=1e-9)


@torch.no_grad()
def test_embeddings_are_the_encoders_at_unit_length(latents, backbone):
    split = Split([5, 0, 9, 3, 7])
    crops = torch.stack([torch.tensor(latents[place]["crop"]) for place in split.positions])
    expected = F.normalize(backbone.encode_image(crops.permute(0, 3, 1, 2) / 255), dim=1)
    found = embed_samples(backbone, latents, split, 2, 0, "images")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(embed_samples(backbone, latents, split, 2, 1, "images"), found)


def test_latents_without_a_cache_give_the_same(world, latents, backbone):
    world.plan(OPTIONS.__class__(**{**OPTIONS.__dict__, "mode": "online"})).write(
        world.folder / "online"
    )
    online = OnlineLatents(world.folder / "online")
    parts = [choose(source, BOTH) for source in (latents, online)]
    assert parts[0] == parts[1]
    found = [
        embed_samples(backbone, source, parts[0][1], 4, 0, "images") for source in (latents, online)
    ]
    np.testing.assert_array_equal(*found)


def test_caption_embeddings_are_the_encoders_at_unit_length(backbone):
    texts = ["a red fish", "dots", "a wall"]
    expected = F.normalize(backbone.encode_text(texts), dim=1)
    np.testing.assert_allclose(embed_captions(backbone, texts, 2, "captions"), expected, atol=1e-6)


def test_an_encoder_that_gives_nan_is_told(latents, backbone, monkeypatch):
    monkeypatch.setattr(
        backbone, "encode_image", lambda pixels: torch.full((len(pixels), 24), torch.nan)
    )
    with pytest.raises(UserError, match="gives NaN or infinity for images"):
        embed_samples(backbone, latents, Split([0, 1]), 2, 0, "images")


def test_embeddings_lie_in_no_file_that_anyone_sees(latents, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = embed_samples(backbone, latents, Split([0, 1]), 2, 0, "images")
    assert isinstance(found, np.memmap)
    assert list(tmp_path.iterdir()) == []
    assert json.dumps(found.tolist())  # it can still be read
