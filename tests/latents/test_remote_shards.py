"""Latents of shards at URLs: the bytes of those of local ones."""

from dataclasses import replace

import numpy as np
import pytest

from dcr.errors import UserError
from dcr.latents import open_latents, plan_latents
from latent_world import OPTIONS, WEIGHTS, World, another_image, contents


@pytest.fixture
def world(tmp_path):
    return World.make(tmp_path)


def plan(world, store, options=OPTIONS):
    urls = [f"{store.url}/{name}.tar" for name in sorted(world.images)]
    return plan_latents(world.manifest(), urls, world.diffusion, options, WEIGHTS)


@pytest.mark.parametrize(("kind", "seed"), [("http", 3), ("s3", 4), ("hf", None)])
def test_the_cache_has_the_bytes_of_that_of_local_shards(serve, world, kind, seed):
    world.cache("local")
    store = serve(kind, world.folder / "shards", seed)
    plan(world, store, replace(OPTIONS, num_workers=1)).write(world.folder / "remote")
    assert contents(world.folder / "remote") == contents(world.folder / "local")
    assert seed is None or store.wire.num_cut


@pytest.mark.parametrize("fetched", [False, True])
def test_without_a_cache_samples_are_those_of_local_shards(serve, world, fetched):
    """Whether the shards were fetched before or are read sample by sample."""
    online = replace(OPTIONS, mode="online")
    world.plan(online).write(world.folder / "local")
    store = serve("http", world.folder / "shards")
    if fetched:
        plan(world, store).write(world.folder / "cached")
    plan(world, store, online).write(world.folder / "remote")
    there, here = open_latents(world.folder / "remote"), open_latents(world.folder / "local")
    assert there.fingerprint() == here.fingerprint()
    for position in range(len(here)):
        assert np.array_equal(there[position, 2]["crop"], here[position, 2]["crop"])


def test_an_image_that_changed_since_validation_is_refused(serve, world):
    store = serve("http", world.folder / "shards")
    planned = plan(world, store)
    world.write("00001", [another_image(), *world.images["00001"][1:]])
    with pytest.raises(UserError, match=r"00001\.tar.* changed since validation"):
        planned.write(world.folder / "remote")


def test_when_a_shard_is_gone_those_that_are_finished_stay(serve, tmp_path):
    world = World.make(tmp_path, num_shards=3, images_per_shard=3)
    store = serve("http", world.folder / "shards")
    planned = plan(world, store)
    moved = world.folder / "moved.tar"
    (world.folder / "shards" / "00002.tar").rename(moved)
    with pytest.raises(UserError, match=r"00002\.tar is not there"):
        planned.write(world.folder / "remote")
    finished = world.folder / "remote" / "00000.tar"
    inode = finished.stat().st_ino
    moved.rename(world.folder / "shards" / "00002.tar")
    planned.write(world.folder / "remote")
    world.cache("local")
    assert finished.stat().st_ino == inode
    assert contents(world.folder / "remote") == contents(world.folder / "local")
