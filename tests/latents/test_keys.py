"""What the bytes of latents depend on: every parameter of the pipelines `latents` and
`synthesis`, and every input.
"""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from dcr.errors import UserError
from dcr.latents import open_latents
from dcr.latents import options as options_module
from dcr.latents.vae import check_vae
from dcr.parameters import LatentsParameters, SynthesisParameters
from dcr.pipelines.latents.nodes import encode_latents
from dcr.pipelines.synthesis.nodes import synthesize_positives
from latent_world import World, another_image

CONF = Path(__file__).parents[2] / "conf" / "base"

# The parameter, another value, and the modes in which it changes the latents.
BOTH, CACHE = {"cache", "online"}, {"cache"}
LATENTS = {
    "crop_mode": ("center", BOTH),
    "crops_per_image": (2, CACHE),  # online every epoch has a crop of its own
    "crop_scale_min": (0.5, BOTH),
    "crop_scale_max": (0.95, BOTH),
    "crop_horizontal_flip": (0.5, BOTH),
    "dtype": ("float16", BOTH),
    "mixed_precision": ("bf16", BOTH),
    **{
        name: (value, set())
        for name, value in {
            "batch_size": 7,
            "num_workers": 1,
            "channels_last": True,
            "compile": True,
            "check_images": False,
            "num_ranks": 2,
            "rank": 0,
        }.items()
    },
}
SYNTHESIS = {
    "num_candidates": (3, True),
    "num_steps": (5, True),
    "eta": (0.2, True),
    "sample_weight": (0.2, True),
    "condition": ("none", True),
    "seed": (1, True),
    "batch_size": (7, False),
    "num_ranks": (2, False),
    "rank": (0, False),
    "num_examples": (3, False),
}


def section(cls, name, **changes):
    return cls(**yaml.safe_load((CONF / f"parameters_{name}.yml").read_text())[name] | changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World.make(tmp_path_factory.mktemp("world"))


def fingerprint(world, manifest=None, image_size=32, **changes):
    """Return what training would be told of these latents; those of a cache need not be
    computed for it.
    """
    parameters = section(LatentsParameters, "latents", **changes)
    backbone = SimpleNamespace(image_size=image_size)
    manifest = world.manifest() if manifest is None else manifest
    recipe = SimpleNamespace(weights={"shards": 1.0})
    plan = encode_latents(parameters, manifest, world.shards, backbone, world.diffusion, recipe)
    if parameters.mode == "online":
        plan.write(world.folder / "online")
        return open_latents(world.folder / "online").fingerprint()
    return tuple(plan.keys.values())


def test_every_parameter_is_in_a_table():
    assert {*LATENTS, "mode"} == set(LatentsParameters.model_fields)
    assert set(SYNTHESIS) == set(SynthesisParameters.model_fields)


def test_a_mode_has_latents_of_its_own(world):
    assert fingerprint(world, mode="cache") != fingerprint(world, mode="online")


@pytest.mark.parametrize("mode", ["cache", "online"])
@pytest.mark.parametrize("name", LATENTS)
def test_a_parameter_changes_the_latents_that_depend_on_it_and_no_others(world, mode, name):
    value, modes = LATENTS[name]
    same = fingerprint(world, mode=mode) == fingerprint(world, mode=mode, **{name: value})
    assert same == (mode not in modes)


def recaption(manifest):
    return manifest.assign(caption=["another caption", *manifest["caption"][1:]])


def rehash(manifest):
    return manifest.assign(sha256=["0" * 64, *manifest["sha256"][1:]])


def swap_two(manifest):
    """Two samples of a shard change places."""
    return manifest.assign(
        offset=[manifest["offset"][1], manifest["offset"][0], *manifest["offset"][2:]]
    )


@pytest.mark.parametrize("mode", ["cache", "online"])
@pytest.mark.parametrize("change", [recaption, rehash, swap_two, lambda manifest: manifest[1:]])
def test_samples_change_the_latents(world, mode, change):
    assert fingerprint(world, change(world.manifest()), mode=mode) != fingerprint(world, mode=mode)


@pytest.mark.parametrize("mode", ["cache", "online"])
def test_models_and_code_change_the_latents(tmp_path, monkeypatch, mode):
    world = World.make(tmp_path)
    found = [fingerprint(world, mode=mode), fingerprint(world, image_size=64, mode=mode)]
    with torch.no_grad():
        next(world.diffusion.vae.parameters()).add_(1)
    found.append(fingerprint(world, mode=mode))
    world.diffusion.vae.register_to_config(scaling_factor=0.1)
    found.append(fingerprint(world, mode=mode))
    monkeypatch.setattr("dcr.latents.keys.code_hash", lambda *makers: "edited")
    found.append(fingerprint(world, mode=mode))
    assert len(set(found)) == len(found)


def test_where_shards_lie_changes_nothing(world, tmp_path):
    moved = World(shutil.copytree(world.folder, tmp_path / "moved"), world.diffusion, world.images)
    assert fingerprint(moved, mode="online") == fingerprint(world, mode="online")


def test_a_cache_is_told_by_its_shards_keys(world):
    cache = world.cache()
    assert cache.fingerprint() == world.cache("again").fingerprint()
    assert (
        cache.fingerprint()
        != world.cache(
            "half", options_module.LatentOptions(32, (0.9, 1), 3, "float16")
        ).fingerprint()
    )


@pytest.fixture(scope="module")
def cache(world):
    return world.cache("for synthesis")


@pytest.mark.parametrize("name", SYNTHESIS)
def test_a_parameter_changes_the_candidates_that_depend_on_it_and_no_others(world, cache, name):
    value, expected = SYNTHESIS[name]
    plans = [
        synthesize_positives(
            section(SynthesisParameters, "synthesis", **changes), cache, world.diffusion
        )
        for changes in ({}, {name: value})
    ]
    assert (plans[0].keys != plans[1].keys) == expected


def add_one(module):
    with torch.no_grad():
        next(module.parameters()).add_(1)


@pytest.mark.parametrize(
    "change",
    [
        lambda diffusion: add_one(diffusion.unet),
        lambda diffusion: add_one(diffusion.text_encoder),
        lambda diffusion: diffusion.scheduler.register_to_config(beta_end=0.5),
        lambda diffusion: setattr(diffusion.text_encoder.config, "hidden_act", "gelu"),
        lambda diffusion: setattr(diffusion.tokenizer, "model_max_length", 5),
    ],
)
def test_the_diffusion_model_changes_the_candidates(tmp_path, change):
    world = World.make(tmp_path)
    cache, parameters = world.cache(), section(SynthesisParameters, "synthesis")
    before = synthesize_positives(parameters, cache, world.diffusion).keys
    change(world.diffusion)
    assert synthesize_positives(parameters, cache, world.diffusion).keys != before


def test_latents_change_the_candidates(tmp_path):
    world = World.make(tmp_path)
    parameters = section(SynthesisParameters, "synthesis")
    before = synthesize_positives(parameters, world.cache(), world.diffusion).keys
    world.write("00000", [another_image(), *world.images["00000"][1:]])
    after = synthesize_positives(parameters, world.cache(), world.diffusion).keys
    assert {name for name in after if after[name] != before[name]} == {"00000"}


@pytest.mark.parametrize("mode", ["cache", "online"])
def test_latents_of_another_vae_are_refused(tmp_path, mode):
    world = World.make(tmp_path)
    options = options_module.LatentOptions(32, (0.9, 1.0), 3, "float32", mode=mode)
    world.plan(options).write(tmp_path / "latents")
    check_vae(open_latents(tmp_path / "latents"), world.diffusion)
    add_one(world.diffusion.vae)
    with pytest.raises(
        UserError, match=r"holds latents of another VAE .* `kedro run --pipelines latents`"
    ):
        check_vae(open_latents(tmp_path / "latents"), world.diffusion)


def test_a_list_of_another_plan_is_refused(world):
    """As a kill between its two files would leave them."""
    options = options_module.LatentOptions(32, (0.9, 1.0), 3, "float32", mode="online")
    world.plan(options).write(world.folder / "torn")
    plan = (world.folder / "torn" / "plan.json").read_bytes()
    fewer = World(world.folder, world.diffusion, {"00000": world.images["00000"]})
    fewer.plan(options).write(world.folder / "torn")
    (world.folder / "torn" / "plan.json").write_bytes(plan)
    with pytest.raises(
        UserError, match=r"is not the list that the plan was written with.*--pipelines latents"
    ):
        open_latents(world.folder / "torn")
