"""Stage 1 asks the frozen tower once for each crop, and keeps what it says."""

import hashlib
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from dcr.latents import open_latents
from dcr.training import features, jobs
from dcr.training.batches import to_pixels
from dcr.training.contrast import build_contrast
from dcr.training.cost import measure, plan
from dcr.training.data import collate
from dcr.training.distributed.processes import Processes, alone
from dcr.training.features import FEATURES, asks_for_features, keep_features, why_not_kept
from dcr.training.model import ConditionModel, freeze_for_stage1
from dcr.training.samples import WithFeatures
from dcr.training.stages import load_projector
from dcr.training.step import MicroStep
from dcr.training.stopping import JOB, STOP_FILE, Stopped
from dcr.training.views import view_augmentation
from training_world import (
    NUM_IMAGES,
    fixed_projector,
    fork_server,
    load_world,
    open_job,
    parameters,
    run_of,
    train_both_stages,
    weights,
    write_world,
)

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import counts

KEEP = {"execution.cache_features": True}
# 40 samples of 24 images, in two crops each or in one: more samples than crops in the latter alone.
ENOUGH = KEEP | {"stage1.max_train_steps": 10, "stage2.max_train_steps": 1}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """24 images in three shards, one crop each."""
    return write_world(tmp_path_factory.mktemp("world"), num_shards=3)


@pytest.fixture(scope="module")
def two_crops(tmp_path_factory):
    """24 images in two shards, two crops each."""
    return write_world(tmp_path_factory.mktemp("crops"), num_shards=2, crops_per_image=2)


@pytest.fixture
def encoded(monkeypatch):
    """The numbers of images that backbones are asked for, pass by pass."""
    sizes = []
    from dcr.models.backbones.families.open_clip import OpenClipBackbone

    encode = OpenClipBackbone.encode_image
    monkeypatch.setattr(
        OpenClipBackbone,
        "encode_image",
        lambda self, pixels: (sizes.append(len(pixels)), encode(self, pixels))[1],
    )
    return sizes


def model_of(world, seed=5):
    backbone, _, _ = load_world(world)
    return ConditionModel(backbone, load_projector(fixed_projector(world))).requires_grad_(False)


def stage1(**changes):
    return run_of(parameters(**ENOUGH | changes), "stage1")


def keep(world, folder, processes=None, model=None, **changes):
    return keep_features(
        open_latents(world / "latents"),
        model or model_of(world),
        folder,
        stage1(**changes),
        processes or alone(),
    )


def projector(world, folder, **changes):
    trained, _, _ = jobs.train_projector(open_job(world, folder, **changes))
    return trained


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_crop_has_the_features_that_the_tower_gives_it(two_crops, tmp_path, num_workers):
    kept = keep(two_crops, tmp_path, **{"execution.num_workers": num_workers})
    model, latents = model_of(two_crops), open_latents(two_crops / "latents")
    for position in range(NUM_IMAGES):
        for epoch in range(3):  # the third sees the first crop again
            crop = torch.from_numpy(latents[position, epoch]["crop"].copy())[None]
            expected = model.backbone.encode_image(to_pixels(crop, torch.device("cpu")))[0]
            found = torch.from_numpy(kept[position, epoch])
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    first, second = (kept[3, epoch] for epoch in (0, 1))
    assert abs(first - second).max() > 1e-3  # so that the crops are not mistaken


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_projector_is_the_same_but_for_rounding(world, tmp_path, precision):
    """In bf16 the last bits of an image's features depend on the batch, too."""
    changes = ENOUGH | {"mixed_precision": precision, "stage1.gradient_accumulation_steps": 2}
    expected = projector(world, tmp_path / "asked", **changes | {"execution.cache_features": False})
    found = projector(world, tmp_path / "kept", **changes)
    start = projector(world, tmp_path / "start", **changes | {"stage1.learning_rate": 1e-30})
    for name in expected:
        moved = (expected[name] - start[name]).norm()
        error = (found[name] - expected[name]).norm()
        assert error <= (1e-4 if precision == "no" else 0.05) * moved, name


def test_the_tower_sees_each_crop_once(world, tmp_path, encoded):
    """Beside the crops it sees the held-out images, at the start, the end and every 25 steps."""
    job = open_job(world, tmp_path, **ENOUGH)
    num_held_out = len(job.data.held_out.first_images(64))
    encoded.clear()
    jobs.train_projector(job)
    of_measuring = 4 * num_held_out  # before, at the last step, after, with wrong images
    assert sum(encoded) == NUM_IMAGES + of_measuring + 1  # by one a pair's cost is found


def test_a_later_run_finds_the_features(world, tmp_path, encoded, caplog):
    folder = tmp_path / FEATURES
    with caplog.at_level(logging.INFO):
        keep(world, folder)
        assert sum(encoded) == NUM_IMAGES
        encoded.clear()
        keep(world, folder, **{"stage1.learning_rate": 1e-2})
    assert encoded == []
    told = f"stage1: features of 3 shards' crops in {folder}; to encode: those of "
    assert [line.message for line in caplog.records if line.message.startswith(told)] == [
        f"{told}3.",
        f"{told}0.",
    ]


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def save_as(change, path: Path) -> None:
    """Put a whole file in its place, its sum included, whose features are of another form."""
    features = np.ascontiguousarray(change(load_file(path)["features"]))
    sha256 = hashlib.sha256(features.data).hexdigest()
    save_file({"features": features}, path, metadata={"sha256": sha256})


def of_fewer_samples(path: Path) -> None:
    save_as(lambda features: features[:-1], path)


def of_other_width(path: Path) -> None:
    save_as(lambda features: features.reshape(len(features), 2, -1), path)


def of_other_numbers(path: Path) -> None:
    save_as(lambda features: features.view(np.int32), path)


def without_a_sum(path: Path) -> None:
    save_file(load_file(path), path)


def of_other_names(path: Path) -> None:
    save_file({"more": load_file(path)["features"]}, path)


@pytest.mark.parametrize(
    "spoil",
    [
        flip_a_byte,
        cut,
        of_fewer_samples,
        of_other_width,
        of_other_numbers,
        without_a_sum,
        of_other_names,
        Path.unlink,
    ],
)
def test_a_damaged_file_is_made_again(world, tmp_path, encoded, spoil):
    folder = tmp_path / FEATURES
    keep(world, folder)
    files = {path: path.read_bytes() for path in folder.iterdir()}
    spoil(min(files))
    encoded.clear()
    keep(world, folder)
    assert sum(encoded) == NUM_IMAGES // 3  # its shard's alone
    assert {path: path.read_bytes() for path in folder.iterdir()} == files


def other_tower(model):
    next(model.tower.parameters()).data += 0.1
    return {}


def other_normalisation(model):
    preprocessing = model.backbone.preprocessing
    from dataclasses import replace

    model.backbone.preprocessing = replace(preprocessing, mean=(0.1, 0.2, 0.3))
    return {}


def other_precision(model):
    return {"mixed_precision": "bf16"}


@pytest.mark.parametrize("change", [other_tower, other_normalisation, other_precision])
def test_features_of_another_tower_are_not_taken(world, tmp_path, encoded, change):
    folder = tmp_path / FEATURES
    keep(world, folder)
    before = {path.name for path in folder.iterdir()}
    encoded.clear()
    model = model_of(world)
    keep(world, folder, model=model, **change(model))
    assert sum(encoded) == NUM_IMAGES
    after = {path.name for path in folder.iterdir()}
    assert len(after) == 3
    assert not before & after  # the others, which nothing would read, are gone


class Cut(Exception):
    pass


def test_a_pass_that_is_cut_goes_on_with_the_next_shard(world, tmp_path, encoded, monkeypatch):
    folder = tmp_path / FEATURES
    encode, asked = features.load_ahead, []

    def load(*args, **kwargs):
        for crops in encode(*args, **kwargs):
            asked.append(len(crops))
            if len(asked) == 3:
                raise Cut
            yield crops

    monkeypatch.setattr(features, "load_ahead", load)
    with pytest.raises(Cut):
        keep(world, folder)
    assert len(list(folder.iterdir())) == 2  # whole ones, and no piece of the third
    monkeypatch.undo()
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    keep(world, folder)
    assert len(list(folder.iterdir())) == 3
    assert {path: path.read_bytes() for path in whole} == whole


def test_a_request_to_stop_is_heard_after_the_shard_at_hand(world, tmp_path, monkeypatch):
    """As when a scheduler takes the machine back: a pass may take longer than it waits."""
    folder, load = tmp_path / FEATURES, features.load_ahead

    def interrupted(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        yield from load(*args, **kwargs)

    monkeypatch.setattr(features, "load_ahead", interrupted)
    with pytest.raises(Stopped, match=r"stage1: stopped before the first step; .* goes on from"):
        keep(world, folder)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.undo()
    keep(world, folder)
    assert len(list(folder.iterdir())) == 3


def test_workers_hear_it_by_the_file_of_their_job(world, tmp_path):
    folder = tmp_path / FEATURES
    worker = Processes(0, 1, torch.device("cpu"), is_worker=True)
    (tmp_path / JOB).mkdir()
    (tmp_path / JOB / STOP_FILE).touch()
    with pytest.raises(Stopped):
        keep(world, folder, worker)
    assert len(list(folder.iterdir())) == 1


def test_processes_share_the_shards_out(world, tmp_path, encoded, monkeypatch):
    """Each encodes its own; together they leave what one process leaves."""
    keep(world, tmp_path / "alone")
    encoded.clear()
    monkeypatch.setattr(Processes, "barrier", lambda self: None)
    names = list(open_latents(world / "latents").shard_keys())
    monkeypatch.setattr(Processes, "broadcast", lambda self, value: names)
    counts = []
    for rank in range(2):
        keep(world, tmp_path / "shared", Processes(rank, 2, torch.device("cpu")))
        counts.append(sum(encoded))
        encoded.clear()
    assert counts == [16, 8]
    read = {
        folder: {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        for folder in ("alone", "shared")
    }
    assert read["alone"] == read["shared"]


@pytest.mark.parametrize(
    ("changes", "num_crops", "reason"),
    [
        ({"stage1.loss": "dcr"}, 24, "dcr also sees views"),
        ({"condition": "patch_tokens"}, 24, "patch tokens take more room"),
        ({}, None, "latents.mode online cuts new crops"),
        ({"stage1.max_train_steps": 6}, 24, "it reads 24 samples, no more than the 24 crops"),
        ({"stage1.max_train_steps": 6, "processes.num_processes": 2}, 48, "it reads 48 samples"),
    ],
)
def test_features_are_kept_only_where_they_save_work(changes, num_crops, reason):
    assert why_not_kept(stage1(**changes), num_crops).startswith(reason)


@pytest.mark.parametrize("knows", [False, True])
def test_what_a_step_will_cost_is_told_with_them_and_without(world, tmp_path, knows):
    model = model_of(world)
    freeze_for_stage1(model)
    run, processes = stage1(), alone()
    views = view_augmentation(run.parameters, model.backbone.preprocessing)
    _, diffusion, latents = load_world(world)
    micro_step = MicroStep(model, diffusion, views, run, build_contrast(run), processes)
    micro_step.knows_features = knows
    samples = WithFeatures(latents, keep(world, tmp_path)) if knows else latents
    collated = collate([samples[place, 0] for place in range(4)])
    planned = plan(micro_step, measure(micro_step, 32), {})
    counted = counts.count(lambda: micro_step(collated, 0, 2), model, diffusion.unet)
    assert planned.step_flops == pytest.approx(counted.operations, rel=0.01)
    assert planned.activation_bytes == pytest.approx(counted.saved_bytes, rel=0.05)


def test_where_they_would_not_the_log_says_why(world, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        for _ in range(2):  # the second finds the run finished, and has nothing to encode
            projector(world, tmp_path, **KEEP)  # 6 steps of 4
    told = (
        "stage1: the tower encodes images as they come, since it reads 24 samples, no more than the"
        " 24 crops that there are."
    )
    assert caplog.messages.count(told) == 1
    assert not (tmp_path / FEATURES).exists()


def test_stage_2_trains_the_tower_and_keeps_nothing_of_it():
    assert asks_for_features(stage1())
    assert not asks_for_features(run_of(parameters(**ENOUGH), "reconstruction"))


def test_more_processes_read_more():
    changes = {"stage1.max_train_steps": 6, "processes.num_processes": 2}
    assert why_not_kept(stage1(**changes), 24) is None
    assert why_not_kept(stage1(**changes, published=["sampling"]), 24) is not None


def test_a_run_that_is_killed_goes_on_to_the_same_bits(world, tmp_path):
    def run(name, cut=None):
        train = partial(train_both_stages, world, tmp_path / name, tmp_path / f"{name}.safetensors")
        process = fork_server().Process(target=train, kwargs={"cut": cut, **ENOUGH})
        process.start()
        process.join()
        return process.exitcode

    assert run("whole") == 0
    assert run("cut", ("stage1", 5, "update")) == -signal.SIGKILL
    assert len(list((tmp_path / "cut" / FEATURES).iterdir())) == 3
    assert run("cut") == 0
    whole, resumed = (weights(tmp_path / f"{name}.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_several_processes_train_on_what_they_kept(world, tmp_path):
    """Through torch.distributed.run, as a recipe starts them."""
    changes = ENOUGH | {"stage1.train_batch_size": 2, "stage1.max_train_steps": 8}
    two = changes | {"processes.num_processes": 2}
    found = projector(world, tmp_path / "kept", **two)
    assert len(list((tmp_path / "kept" / FEATURES).iterdir())) == 3
    one = changes | {"stage1.train_batch_size": 4, "execution.cache_features": False}
    expected = projector(world, tmp_path / "asked", **one)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=2e-4, atol=2e-6)
