"""Computing the cache: only what must be, the same bytes whatever happens, and a clean end on a
full disk.
"""

import io
import logging
import re
import shutil
from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
import torch
from PIL import Image

from dcr.errors import UserError
from dcr.latents import LatentCache, pick_rank, plan_latents
from dcr.seeds import numpy_generator
from latent_world import (
    OPTIONS,
    WEIGHTS,
    Child,
    World,
    another_image,
    contents,
    files,
    write_as_torchrun_starts_it,
    write_cache,
    write_with_small_files,
)


@pytest.fixture
def world(tmp_path):
    return World.make(tmp_path, num_shards=3)


def touched(before, after):
    """Return the names of shards that were written between two looks at a cache."""
    return {name for name in after if name.endswith(".tar") and after[name] != before.get(name)}


def test_a_second_run_touches_nothing(world):
    world.cache()
    before = files(world.folder / "latents")
    world.cache()
    assert touched(before, files(world.folder / "latents")) == set()


def test_the_same_input_gives_the_same_bytes(world):
    for name in ("one", "two"):
        world.cache(name)
    assert contents(world.folder / "one") == contents(world.folder / "two")


def test_worker_processes_change_no_byte(world):
    world.cache("alone")
    world.cache("helped", replace(OPTIONS, num_workers=2))
    assert contents(world.folder / "alone") == contents(world.folder / "helped")


@pytest.mark.parametrize("position", [0, 2, 4])
def test_an_image_edited_in_place_is_noticed_and_only_its_shard_recomputed(world, position):
    world.cache()
    before = files(world.folder / "latents")
    manifest = world.manifest()
    images = list(world.images["00001"])
    images[position] = another_image()
    world.write("00001", images)
    with pytest.raises(
        UserError,
        match=r"00001\.tar.* changed since validation; run `kedro run --pipelines validat",
    ):
        plan_latents(manifest, world.shards, world.diffusion, OPTIONS, WEIGHTS).write(
            world.folder / "latents"
        )
    assert touched(before, files(world.folder / "latents")) == set()
    world.cache()
    assert touched(before, files(world.folder / "latents")) == {"00001.tar"}


def test_the_manifest_is_trusted_only_if_asked(world):
    world.cache()
    manifest = world.manifest()
    world.write("00001", [another_image(), *world.images["00001"][1:]])
    trusting = replace(OPTIONS, check_images=False)
    plan_latents(manifest, world.shards, world.diffusion, trusting, WEIGHTS).write(
        world.folder / "latents"
    )


def test_adding_and_removing_an_image_changes_only_its_shard(world):
    world.cache()
    before = files(world.folder / "latents")
    world.write("00000", [*world.images["00000"], another_image()])
    world.cache()
    longer = files(world.folder / "latents")
    assert touched(before, longer) == {"00000.tar"}
    world.write("00000", world.images["00000"][:-1])
    world.cache()
    assert contents(world.folder / "latents")["00000.tar"] == before["00000.tar"][1]
    assert touched(longer, files(world.folder / "latents")) == {"00000.tar"}


def test_a_rejected_sample_leaves_the_cache(world):
    world.cache()
    before = files(world.folder / "latents")
    manifest = world.manifest().drop(index=7)
    plan_latents(manifest, world.shards, world.diffusion, OPTIONS, WEIGHTS).write(
        world.folder / "latents"
    )
    cache = LatentCache(world.folder / "latents")
    assert [cache.key(i) for i in range(len(cache))] == list(manifest["key"])
    assert touched(before, files(world.folder / "latents")) == {"00001.tar"}


def test_a_shard_that_is_gone_is_removed(world):
    world.cache()
    del world.images["00002"]
    assert len(world.cache()) == 10
    assert set(contents(world.folder / "latents")) == {"00000.tar", "00001.tar", "plan.json"}


def test_a_changed_caption_is_stored_anew(world):
    world.cache()
    before = files(world.folder / "latents")
    manifest = world.manifest()
    manifest.loc[0, "caption"] = "another"
    plan_latents(manifest, world.shards, world.diffusion, OPTIONS, WEIGHTS).write(
        world.folder / "latents"
    )
    assert touched(before, files(world.folder / "latents")) == {"00000.tar"}


@pytest.mark.parametrize(
    "change",
    [
        {"scale": (0.8, 1.0)}, {"image_size": 24}, {"crops_per_image": 2}, {"crop_mode": "center"},
        {"horizontal_flip": 0.5}, {"dtype": "bfloat16"}, {"mixed_precision": "bf16"},
    ],
)  # fmt: skip
def test_a_changed_parameter_of_crops_or_moments_recomputes_all(world, change):
    world.cache()
    before = files(world.folder / "latents")
    world.cache(options=replace(OPTIONS, **change))
    assert touched(before, files(world.folder / "latents")) == {
        "00000.tar",
        "00001.tar",
        "00002.tar",
    }


@pytest.mark.parametrize("change", [{"batch_size": 7}, {"num_workers": 1}, {"channels_last": True}])
def test_a_parameter_of_speed_recomputes_nothing(world, change):
    world.cache()
    before = files(world.folder / "latents")
    world.cache(options=replace(OPTIONS, **change))
    assert touched(before, files(world.folder / "latents")) == set()


@pytest.mark.parametrize("change", ["weights", "scaling_factor"])
def test_another_vae_recomputes_all(world, change):
    world.cache()
    before = files(world.folder / "latents")
    if change == "weights":
        with torch.no_grad():
            world.diffusion.vae.encoder.conv_in.bias[0] += 1e-3
    else:
        world.diffusion.vae.register_to_config(scaling_factor=0.25)
    world.cache()
    assert touched(before, files(world.folder / "latents")) == {
        "00000.tar",
        "00001.tar",
        "00002.tar",
    }


def test_other_code_recomputes_all(world, monkeypatch):
    world.cache()
    before = files(world.folder / "latents")
    monkeypatch.setattr("dcr.latents.keys.code_hash", lambda *makers: "edited")
    world.cache()
    assert touched(before, files(world.folder / "latents")) == {
        "00000.tar",
        "00001.tar",
        "00002.tar",
    }


@pytest.mark.parametrize("size", [0, 100, 5000, -1])
def test_a_shard_cut_short_is_recomputed_to_the_same_bytes(world, size):
    world.cache()
    before = files(world.folder / "latents")
    path = world.folder / "latents" / "00001.tar"
    path.write_bytes(before["00001.tar"][1][:size])
    world.cache()
    assert contents(world.folder / "latents") == {
        name: content for name, (_, content) in before.items()
    }
    assert touched(before, files(world.folder / "latents")) <= {"00001.tar"}


def test_two_ranks_write_what_one_process_writes(world):
    world.cache("one")
    for rank in (1, 0):
        world.plan(rank=rank, num_ranks=2).write(world.folder / "two")
    assert contents(world.folder / "one") == contents(world.folder / "two")


def test_two_processes_at_once_write_what_one_writes(world):
    children = [Child(write_cache, world.folder, "one")]
    children += [
        Child(write_as_torchrun_starts_it, world.folder, "two", rank, 2) for rank in range(2)
    ]
    for child in children:
        child.ready()
    assert [child.result() for child in children] == ["", "", ""]
    assert contents(world.folder / "one") == contents(world.folder / "two")


def test_a_rank_takes_its_own_shards_and_a_rerun_fills_in_what_is_missing(world):
    folder = world.folder / "latents"
    world.plan(rank=0, num_ranks=2).write(folder)
    before = files(folder)
    assert set(before) == {"00000.tar", "00002.tar", "plan.json"}
    world.cache()
    assert touched(before, files(folder)) == {"00001.tar"}


def test_torchruns_environment_gives_the_rank(monkeypatch):
    assert pick_rank(1, 3) == (1, 3)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert pick_rank(0, 1) == (2, 4)


def test_a_rank_beyond_the_last_is_refused(world):
    with pytest.raises(UserError, match=r"latents\.rank is 2"):
        world.plan(rank=2, num_ranks=2)


def test_an_empty_manifest_is_refused(world):
    with pytest.raises(UserError, match="no accepted sample"):
        plan_latents(world.manifest().iloc[:0], world.shards, world.diffusion, OPTIONS, WEIGHTS)


def test_an_input_shard_that_is_gone_is_named(world):
    with pytest.raises(UserError, match="shard 00001 is in the manifest but not in the input"):
        plan_latents(
            world.manifest(), [world.shards[0], world.shards[2]], world.diffusion, OPTIONS, WEIGHTS
        )


def test_the_plan_is_logged_with_its_true_size(world, caplog):
    with caplog.at_level(logging.INFO, logger="dcr"):
        world.cache(options=replace(OPTIONS, image_size=64))
    assert "latents: 15 images in 3 shards" in caplog.text
    assert "to encode: 15 images in 3 shards" in caplog.text
    assert "free: " in caplog.text
    plan = world.plan(replace(OPTIONS, image_size=64))
    for name in plan.tasks:
        size = (world.folder / "latents" / f"{name}.tar").stat().st_size
        assert size * 0.9 <= plan.num_bytes(name) <= size * 1.3


def test_what_cannot_fit_is_refused_before_work_starts(world, monkeypatch):
    usage = shutil.disk_usage(world.folder)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=50_000))
    with pytest.raises(UserError, match=r"the disk has 0\.00 GB free"):
        world.cache()
    assert contents(world.folder / "latents") == {}


def test_a_full_disk_keeps_what_is_whole_and_the_next_run_goes_on(world):
    """No file may grow much beyond the first shard; the second is larger."""
    world.write("00001", [another_image()] * 40)
    whole = contents(world.cache("whole").folder)
    folder = world.folder / "latents"
    child = Child(write_with_small_files, world.folder, "latents", len(whole["00000.tar"]) + 10_000)
    child.ready()
    assert re.search("the disk is full .* the 1 shards .* are whole and kept", child.result())
    assert set(contents(folder)) == {"00000.tar", "plan.json"}
    before = files(folder)
    world.cache()
    assert contents(folder) == whole
    assert touched(before, files(folder)) == {"00001.tar", "00002.tar"}


def test_killed_at_ten_random_moments_a_rerun_gives_the_same_bytes(tmp_path):
    world, start = World.make(tmp_path, num_shards=4, images_per_shard=30), 0.0

    def run(name, kill_after=None):
        nonlocal start
        child = Child(write_cache, world.folder, name)
        child.ready()
        start = perf_counter()
        return child.result(kill_after)

    assert run("whole") == ""
    seconds, generator, num_killed = perf_counter() - start, numpy_generator(0, "kills"), 0
    while num_killed < 10:
        if run("latents", generator.uniform(0, 0.9) * seconds) is None:
            num_killed += 1
        else:
            shutil.rmtree(world.folder / "latents")  # it was done before its moment came
    assert run("latents") == ""
    assert contents(world.folder / "latents") == contents(world.folder / "whole")


def spoil_for_fp16(vae, bias=1e6):
    """Make the first layer answer to brightness alone, by up to 2.7e5 around ``bias``; the norm
    behind undoes it.

    In fp16 everything beyond 65504 overflows; in float32 nothing does.
    """
    with torch.no_grad():
        vae.encoder.conv_in.weight.fill_(1e4)
        vae.encoder.conv_in.bias.fill_(bias)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_numbers_that_overflow_in_fp16_are_computed_in_float32(world, caplog):
    spoil_for_fp16(world.diffusion.vae)
    exact = world.cache("exact", replace(OPTIONS, batch_size=1))
    with caplog.at_level(logging.WARNING, logger="dcr"):
        half = world.cache("half", replace(OPTIONS, mixed_precision="fp16"))
    assert "15 crops overflowed fp16 and were encoded again in float32" in caplog.text
    for i in range(len(exact)):
        assert np.array_equal(half[i]["moments"], exact[i]["moments"])


def test_only_the_images_that_overflow_are_computed_again(world, caplog):
    """A white image gives 2.7e5 more than a grey one, less at its border."""
    white = np.full((40, 40, 3), 255, dtype=np.uint8)
    grey = np.full_like(white, 128)
    world.write("00000", [png(grey), png(white), png(grey)])
    del world.images["00001"], world.images["00002"]
    spoil_for_fp16(world.diffusion.vae, bias=0)
    with caplog.at_level(logging.WARNING, logger="dcr"):
        cache = world.cache(options=replace(OPTIONS, mixed_precision="fp16"))
    assert "1 crops overflowed fp16" in caplog.text
    assert all(np.isfinite(cache[i]["moments"]).all() for i in range(3))


def test_latents_that_are_not_finite_are_refused(world):
    with torch.no_grad():
        world.diffusion.vae.quant_conv.bias.fill_(torch.nan)
    for precision in ("no", "bf16"):
        with pytest.raises(
            UserError, match="sample 000000000: the VAE's latents are not finite in float32"
        ):
            world.cache(options=replace(OPTIONS, mixed_precision=precision))
    assert not list((world.folder / "latents").glob("*.tar"))


def test_an_infinite_log_variance_is_not_hidden_by_the_clamp(world):
    with torch.no_grad():
        world.diffusion.vae.quant_conv.bias[-1] = torch.inf
    with pytest.raises(UserError, match="not finite"):
        world.cache()


def test_moments_beyond_the_stored_dtype_are_refused(world):
    with torch.no_grad():
        world.diffusion.vae.quant_conv.bias[0] = 1e5
    with pytest.raises(
        UserError, match=r"its latents overflow float16; set latents\.dtype to bfloat16 or float32"
    ):
        world.cache(options=replace(OPTIONS, dtype="float16"))
    world.cache(options=replace(OPTIONS, dtype="bfloat16"))
