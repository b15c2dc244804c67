"""The check of a cache: every kind of damage is found, and what is sound passes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dcr.errors import UserError
from dcr.latents import describe_failures, verify_latents
from latent_world import OPTIONS, World, another_image, contents, files


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    world = World.make(tmp_path_factory.mktemp("world"))
    world.cache()
    return world


@pytest.fixture
def world(made):
    """A world with a sound cache, which a test may spoil."""
    before = contents(made.folder / "latents")
    yield made
    for name, content in before.items():
        (made.folder / "latents" / name).write_bytes(content)


def verify(world, plan=None, num_samples=10, tolerance=1e-4):
    return verify_latents(
        plan or world.plan(), world.folder / "latents", num_samples, tolerance, seed=0
    )


@pytest.mark.parametrize(
    "options", [OPTIONS, replace(OPTIONS, dtype="bfloat16", crops_per_image=2)]
)
def test_a_sound_cache_passes(tmp_path, options):
    world = World.make(tmp_path)
    world.cache(options=options)
    found = verify(world, world.plan(options), tolerance=2**-8)
    assert found.failures == {}
    assert (found.num_shards, found.num_samples, found.num_compared) == (2, 10, 10)


def test_one_flipped_byte_is_found_wherever_it_lies(world):
    path = world.folder / "latents" / "00001.tar"
    whole = path.read_bytes()
    places = np.random.default_rng(0).choice(len(whole), 20, replace=False)
    for place in [0, 600, 4700, len(whole) - 1, *places]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert set(verify(world, num_samples=0).failures) == {"00001"}, place


@pytest.mark.parametrize("size", [0, 3000, 20_000, -1])
def test_a_shard_cut_short_is_found(world, size):
    path = world.folder / "latents" / "00000.tar"
    path.write_bytes(path.read_bytes()[:size])
    assert set(verify(world).failures) == {"00000"}


def test_a_missing_shard_is_found(world):
    (world.folder / "latents" / "00000.tar").unlink()
    assert verify(world).failures == {"00000": "it is missing"}


def test_a_shard_of_other_settings_is_found(world):
    found = verify(world, world.plan(replace(OPTIONS, scale=(0.5, 1.0))))
    assert set(found.failures) == {"00000", "00001"}
    assert "other settings" in found.failures["00000"]


def test_moments_that_are_not_the_images_are_found_by_encoding_again(world):
    """A whole, consistent shard with wrong values: only a comparison with the image can tell."""
    plan, vae = world.plan(), world.diffusion.vae
    weight = vae.encoder.conv_in.weight.clone()
    with torch.no_grad():
        vae.encoder.conv_in.weight.mul_(0.5).add_(0.1)
    try:
        plan.write(world.folder / "latents", again=["00001"])
    finally:
        with torch.no_grad():
            vae.encoder.conv_in.weight.copy_(weight)
    assert verify(world, num_samples=0).failures == {}
    found = verify(world)
    assert set(found.failures) == {"00001"}
    assert "differ by" in found.failures["00001"]


def test_crops_that_are_not_the_images_are_found(world, monkeypatch):
    import dcr.latents.cropping as cropping

    real = cropping.base_crop
    monkeypatch.setattr(
        cropping, "base_crop", lambda *a: real(*a)._replace(pixels=real(*a).pixels[::-1])
    )
    world.plan().write(world.folder / "latents", again=["00000"])
    monkeypatch.undo()
    assert "the crops of sample" in verify(world).failures["00000"]


def test_an_image_edited_behind_the_manifest_is_found(tmp_path):
    world = World.make(tmp_path)
    world.cache()
    plan = world.plan()
    world.write("00001", [another_image(), *world.images["00001"][1:]])
    found = verify(world, plan)
    assert set(found.failures) == {"00001"}
    assert "changed since validation" in found.failures["00001"]


def test_a_repair_makes_the_failing_shards_and_no_other(world):
    folder = world.folder / "latents"
    before = contents(folder)
    path = folder / "00001.tar"
    path.write_bytes(before["00001.tar"][:9000] + b"x" + before["00001.tar"][9001:])
    spoiled = files(folder)
    plan = world.plan()
    plan.write(folder, again=list(verify(world, plan).failures))
    assert contents(folder) == before
    assert files(folder)["00000.tar"] == spoiled["00000.tar"]
    assert verify(world, plan).failures == {}


def test_failures_are_told_in_a_sentence(world):
    for path in (world.folder / "latents").glob("*.tar"):
        path.unlink()
    assert (
        describe_failures(verify(world))
        == "2 of 2 latent shards fail: 00000: it is missing (and 1 more)"
    )


def test_without_a_cache_there_is_nothing_to_verify(world):
    with pytest.raises(UserError, match=r"latents\.mode is online"):
        verify(world, world.plan(replace(OPTIONS, mode="online")))
