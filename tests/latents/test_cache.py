"""The latent cache: what is stored, read back, and refused."""

import io
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
import webdataset
from PIL import Image

from dcr.data.crops import base_crop, center_crop
from dcr.errors import UserError
from dcr.latents import LatentCache
from latent_world import OPTIONS, World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World.make(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def cache(world):
    return world.cache()


def open_images(world):
    return [
        Image.open(io.BytesIO(image))
        for name in sorted(world.images)
        for image in world.images[name]
    ]


def encode(world, crop):
    pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None] / 255
    return torch.cat(world.diffusion.encode_moments(pixels), dim=1)[0].numpy()


def test_what_is_read_back_is_what_the_image_gives(world, cache):
    manifest = world.manifest()
    assert [cache.key(i) for i in range(len(cache))] == list(manifest["key"])
    for position, (row, image) in enumerate(
        zip(manifest.itertuples(), open_images(world), strict=True)
    ):
        crop = base_crop(image, 32, row.sha256, (0.9, 1.0))
        assert np.array_equal(cache[position]["crop"], crop.pixels)
        assert cache.record(position) == {
            "caption": row.caption, "sha256": row.sha256, "resize": "bicubic",
            "crops": [{"box": list(crop.box), "flip": False}],
        }  # fmt: skip


def test_float32_moments_are_exactly_those_computed_in_memory(world, cache):
    """One image a pass on both sides: batches of other sizes may be rounded differently by the
    processor.
    """
    single = world.cache("single", replace(OPTIONS, batch_size=1))
    for position in range(len(single)):
        expected = encode(world, single[position]["crop"])
        assert np.array_equal(single[position]["moments"], expected)
        assert np.allclose(cache[position]["moments"], expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "rounding"), [("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_half_precision_rounds_the_moments_to_nearest(world, cache, dtype, rounding):
    half = world.cache(dtype, replace(OPTIONS, dtype=dtype))
    for i in range(len(cache)):
        exact, stored = cache[i]["moments"], half[i]["moments"]
        assert np.array_equal(
            stored, torch.from_numpy(exact).to(getattr(torch, dtype)).float().numpy()
        )
        assert np.abs(stored - exact).max() <= rounding * np.abs(exact).max()
        assert not np.array_equal(stored, exact)
        assert np.array_equal(half[i]["crop"], cache[i]["crop"])
    assert half.shards[0].stat().st_size < cache.shards[0].stat().st_size


@pytest.mark.parametrize("stance", ["force_eager", pytest.param("default", marks=pytest.mark.slow)])
def test_a_compiled_vae_sees_batches_of_one_size_and_gives_the_same_moments(world, cache, stance):
    """Shards of five in batches of three: what is filled up leaves no trace. Compiling itself
    takes a minute.
    """
    with torch.compiler.set_stance(stance):
        compiled = world.cache(f"compiled-{stance}", replace(OPTIONS, compile=True))
    assert len(compiled) == len(cache)
    for i in range(len(cache)):
        assert np.array_equal(compiled[i]["crop"], cache[i]["crop"])
        assert np.allclose(compiled[i]["moments"], cache[i]["moments"], atol=1e-4)


def test_epochs_go_round_the_stored_crops(world):
    cache = world.cache("three", replace(OPTIONS, crops_per_image=3))
    first = open_images(world)[0]
    assert cache.crops_per_image == 3
    for epoch in range(6):
        sample = cache[0, epoch]
        expected = base_crop(first, 32, world.manifest()["sha256"][0], (0.9, 1.0), epoch % 3)
        assert np.array_equal(sample["crop"], expected.pixels)
        assert np.allclose(sample["moments"], encode(world, expected.pixels), atol=1e-5)
    assert not np.array_equal(cache[0, 0]["crop"], cache[0, 1]["crop"])
    assert np.array_equal(cache[0]["crop"], cache[0, 0]["crop"])


def test_more_crops_leave_the_first_as_it_is(world, cache):
    assert np.array_equal(
        world.cache("two", replace(OPTIONS, crops_per_image=2))[3]["crop"], cache[3]["crop"]
    )


def test_center_stores_the_centred_square(world):
    cache = world.cache("center", replace(OPTIONS, crop_mode="center"))
    for position, image in enumerate(open_images(world)):
        crop = center_crop(image, 32)
        assert np.array_equal(cache[position]["crop"], crop.pixels)
        assert cache.record(position)["crops"] == [{"box": list(crop.box), "flip": False}]


def test_a_flip_is_stored_and_recorded(world, cache):
    flipped = world.cache("flipped", replace(OPTIONS, horizontal_flip=1.0))
    assert np.array_equal(flipped[2]["crop"], cache[2]["crop"][:, ::-1])
    assert flipped.record(2)["crops"][0] == {**cache.record(2)["crops"][0], "flip": True}


def test_more_shards_than_may_be_open_are_read_all_the_same(tmp_path, monkeypatch):
    cache = World.make(tmp_path, num_shards=4, images_per_shard=2).cache()
    expected = [cache[i]["moments"] for i in range(len(cache))]
    monkeypatch.setattr("dcr.latents.cache._MAX_OPEN", 2)
    few = LatentCache(cache.folder)
    already = len(psutil.Process().open_files())
    for i in np.random.default_rng(0).integers(len(cache), size=50):
        assert np.array_equal(few[i]["moments"], expected[i])
        assert len(psutil.Process().open_files()) - already <= 2


def test_a_cache_crosses_to_another_process(cache):
    first = cache[0]["moments"]
    assert np.array_equal(pickle.loads(pickle.dumps(cache))[0]["moments"], first)


def test_a_shard_is_a_tar_that_webdataset_reads(cache):
    assert all(tarfile.is_tarfile(shard) for shard in cache.shards)
    dataset = webdataset.WebDataset(
        [str(shard) for shard in cache.shards], shardshuffle=False
    ).decode()
    samples = list(dataset)
    assert [sample["__key__"] for sample in samples] == [cache.key(i) for i in range(len(cache))]
    for i, sample in enumerate(samples):
        assert np.array_equal(sample["crop.npy"][0], cache[i]["crop"])
        assert np.array_equal(sample["moments.npy"][0], cache[i]["moments"])
        assert sample["json"] == cache.record(i)


def test_the_content_hash_follows_the_images(world, cache, tmp_path):
    other = World.make(tmp_path, images_per_shard=4)
    assert other.cache().content_hash() != cache.content_hash() == world.cache().content_hash()


def test_a_missing_cache_names_the_command(tmp_path):
    with pytest.raises(UserError, match="kedro run --pipelines latents"):
        LatentCache(tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "bytes instead of"),
        (lambda data: data[:700], "record is damaged"),
        (lambda data: data.replace(b'"num_samples": 5', b'"num_samples": 9', 1), "index"),
        (lambda data: b"", "record is damaged"),
    ],
)
def test_a_damaged_shard_is_named(tmp_path, damage, words):
    world = World.make(tmp_path)
    shard = world.cache().shards[1]
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(UserError, match=rf"00001\.tar: .*{words}"):
        LatentCache(tmp_path / "latents")


def test_a_cache_that_is_not_finished_is_refused(tmp_path):
    world = World.make(tmp_path)
    world.cache().shards[1].unlink()
    with pytest.raises(UserError, match=r"00001\.tar: it is missing"):
        LatentCache(tmp_path / "latents")


def test_shards_of_two_runs_do_not_mix(tmp_path):
    world = World.make(tmp_path)
    world.cache()
    world.plan(replace(OPTIONS, dtype="float16"), num_ranks=2).write(tmp_path / "latents")
    with pytest.raises(UserError, match=r"00001\.tar is of an earlier run"):
        LatentCache(tmp_path / "latents")


def flip(shard, place):
    """Change one byte of a file, and nothing that its record or index tells."""
    data = bytearray(shard.read_bytes())
    data[place] ^= 1
    shard.write_bytes(data)


def inside_a_crop(cache):
    """Return the place of a byte of a crop in the second shard."""
    data = cache.shards[1].read_bytes()
    places = (data.find(cache[number]["crop"].tobytes()) for number in range(len(cache)))
    return next(place for place in places if place >= 0) + 7


@pytest.mark.parametrize("place", [5000, -3000, inside_a_crop])
def test_a_changed_byte_is_told_with_what_repairs_it(tmp_path, place):
    world = World.make(tmp_path)
    cache = world.cache()
    flip(cache.shards[1], place(cache) if callable(place) else place)
    found = LatentCache(tmp_path / "latents")
    found.check_bytes(["00000"])
    with pytest.raises(
        UserError, match=r"00001\.tar: its bytes .*--pipelines verify --params verify.repair=true`"
    ):
        found.check_bytes()


def test_a_shard_is_read_once_a_process_and_again_if_it_is_written(tmp_path, monkeypatch):
    from dcr.latents import cache as module

    read = []
    check = module.check_bytes
    monkeypatch.setattr(
        module, "check_bytes", lambda path, record: (read.append(path.stem), check(path, record))
    )
    world = World.make(tmp_path)
    cache = world.cache()
    cache.check_bytes()
    LatentCache(tmp_path / "latents").check_bytes()
    pickle.loads(pickle.dumps(cache)).check_bytes()
    assert sorted(read) == ["00000", "00001"]
    cache.shards[1].write_bytes(cache.shards[1].read_bytes())
    cache.check_bytes()
    assert sorted(read) == ["00000", "00001", "00001"]


def test_a_shard_that_is_damaged_stays_so(tmp_path):
    world = World.make(tmp_path)
    cache = world.cache()
    flip(cache.shards[0], 6000)
    for _ in range(2):
        with pytest.raises(UserError, match=r"00000\.tar"):
            cache.check_bytes()


def test_reading_samples_hashes_nothing(world, monkeypatch):
    from dcr.latents import cache as module

    cache = world.cache()
    monkeypatch.setattr(module, "check_bytes", None)
    assert [cache[i]["key"] for i in range(len(cache))]
