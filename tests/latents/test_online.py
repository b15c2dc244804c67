"""Latents without a cache: the same crops and moments, made when they are asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dcr.errors import UserError
from dcr.latents import LatentCache, OnlineLatents, encode_collated, open_latents
from dcr.training.data import collate
from latent_world import OPTIONS, World, another_image

MANY = replace(OPTIONS, crops_per_image=2, num_workers=0)


@pytest.fixture
def world(tmp_path):
    world = World.make(tmp_path)
    world.plan(replace(MANY, mode="online")).write(tmp_path / "online")
    return world


def test_the_folder_says_how_it_is_read(world):
    world.cache()
    assert isinstance(open_latents(world.folder / "online"), OnlineLatents)
    assert isinstance(open_latents(world.folder / "latents"), LatentCache)


def test_positions_keys_records_and_hash_are_those_of_the_cache(world):
    online, cache = open_latents(world.folder / "online"), world.cache(options=MANY)
    assert len(online) == len(cache)
    assert online.content_hash() == cache.content_hash()
    for i in range(len(cache)):
        assert online.key(i) == cache.key(i)
        assert online.record(i) == {**cache.record(i), "crops": cache.record(i)["crops"][:1]}


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_same_crop_gives_the_same_moments(world, precision):
    options = replace(MANY, mixed_precision=precision, batch_size=2, dtype="float16")
    world.plan(replace(options, mode="online")).write(world.folder / "online")
    online, cache = open_latents(world.folder / "online"), world.cache(options=options)
    for i in range(len(cache)):
        collated = collate([online[i, 0], online[i, 1]])
        moments = encode_collated(collated, world.diffusion)
        for epoch in range(2):
            assert np.array_equal(collated["crops"][epoch], cache[i, epoch]["crop"])
            assert torch.equal(moments[epoch], torch.from_numpy(cache[i, epoch]["moments"]))


def test_every_epoch_has_a_crop_of_its_own(world):
    online = open_latents(world.folder / "online")
    crops = {online[0, epoch]["crop"].tobytes() for epoch in range(5)}
    assert len(crops) > MANY.crops_per_image  # a small image has few boxes, some come twice


def test_an_edited_image_is_refused(world):
    online = open_latents(world.folder / "online")
    world.write("00000", [another_image(), *world.images["00000"][1:]])
    with pytest.raises(UserError, match="changed since validation"):
        online[0]


def test_a_damaged_list_is_refused(world):
    (world.folder / "online" / "samples.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"samples\.parquet cannot be read"):
        open_latents(world.folder / "online")
