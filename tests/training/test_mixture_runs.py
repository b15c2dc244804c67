"""A run on several sources: drawn by weight, and told of each."""

import json
import math
import random
import signal
from copy import deepcopy
from itertools import chain, pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from dcr.errors import UserError
from dcr.latents import open_latents
from dcr.training import jobs
from dcr.training.batches import Batch, to_pixels
from dcr.training.checkpoints import step_of
from dcr.training.contrast import build_contrast
from dcr.training.data import in_turn, iterate_batches, split_positions, split_sources
from dcr.training.distributed.processes import alone
from dcr.training.fingerprint import input_hashes
from dcr.training.inputs import check_mixture
from dcr.training.monitoring.monitor import Monitor
from dcr.training.objectives.base import by_source
from dcr.training.source_columns import of_sources
from dcr.training.stages import train_adapter, train_projector
from dcr.training.views import view_augmentation
from dcr.training.work import Data, Work
from mixture_world import FEW, WEIGHTS, plan_mixture, write_mixture
from training_cuts import in_processes, train_and_note
from training_world import NUM_IMAGES, load_world, open_job, parameters, run_of, write_world


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_mixture(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def world(folder):
    return load_world(folder)


def open_data(world, **changes):
    backbone, diffusion, latents = world
    p = parameters(**changes)
    augmentation = view_augmentation(p, backbone.preprocessing)
    return Data.open(latents, diffusion, augmentation, p.held_out, seed=0)


def work(data, name, **changes):
    run = run_of(parameters(**changes), name)
    return Work(data, run, build_contrast(run), Monitor)


@pytest.mark.parametrize("mode", ["cache", "online"])
def test_latents_know_the_source_of_each_sample(folder, world, tmp_path, mode):
    plan_mixture(folder, world[1], mode=mode).write(tmp_path)
    latents = open_latents(tmp_path)
    assert latents.weights == WEIGHTS
    names = [latents.source(position) for position in range(len(latents))]
    assert names == ["few"] * FEW + ["many"] * (NUM_IMAGES - FEW)


def test_sources_take_turns_each_in_its_own_order(world):
    assert in_turn(world[2], [0, 3, 5, 8, 10, 12]) == [0, 10, 3, 12, 5, 8]
    assert in_turn(world[2], [12, 3, 10]) == [3, 12, 10]
    assert in_turn(world[2], [8, 3, 5]) == [8, 3, 5]  # of one source


def test_held_out_images_are_measured_with_sources_taking_turns(world):
    """So a measurement on few of them is one of the mixture, not of what lies first."""
    _, _, latents = world
    many = {"held_out.fraction": 0.6, "held_out.num_samples": NUM_IMAGES}
    _, others = split_positions(latents, 0.6)
    turns = in_turn(latents, others)
    assert turns != others
    shown = open_data(world, **many).held_out.first_images(len(others))
    expected = [latents[position]["crop"] for position in turns]
    assert (to_pixels(torch.from_numpy(np.stack(expected)), shown.device) == shown).all()


def test_the_sources_to_train_on_hold_their_own_samples(world):
    data = open_data(world)
    assert [source.name for source in data.sources] == ["few", "many"]
    _, _, latents = world
    drawn = {source.name: source.positions for source in data.sources}
    assert all(latents.source(p) == name for name, own in drawn.items() for p in own)


@pytest.mark.parametrize("method", ["dcr", "reconstruction", "naive"])
def test_each_source_has_its_own_losses_and_they_add_up(world, method):
    backbone, diffusion, _ = world
    data = open_data(world)
    projector = train_projector(backbone, diffusion, work(data, "stage1"))[0].state_dict()
    small = {"tuning.lora.rank": 2, "stage2.gradient_accumulation_steps": 2}
    tuned = work(data, method, **small)
    _, result = train_adapter(
        deepcopy(backbone), diffusion, projector, tuned, tuned.run.parameters.tuning
    )
    table = result.losses
    counts = table[["samples-few", "samples-many"]]
    assert (counts.sum(axis=1) == 8).all()
    part = "loss" if method == "dcr" else "reconstruction"
    values = table[[f"{part}-few", f"{part}-many"]]
    assert values.isna().eq((counts == 0).to_numpy()).all(axis=None)
    total = (values.fillna(0).to_numpy() * counts.to_numpy()).sum(axis=1) / 8
    whole = {"dcr": "loss", "reconstruction": "loss", "naive": "reconstruction"}[method]
    weight = tuned.run.loss.reconstruction_weight if method == "naive" else 1
    np.testing.assert_allclose(total * weight, table[whole], rtol=1e-5)
    if method == "dcr":
        views = table[["similarity_view-few", "similarity_view-many"]].fillna(0).to_numpy()
        mean = (views * counts.to_numpy()).sum(axis=1) / 8
        np.testing.assert_allclose(mean, table["similarity_view"], rtol=1e-5)


def test_dvclive_takes_the_numbers_of_every_source_to_the_last_step(folder, tmp_path, caplog):
    small = {"monitoring.report_to": ["dvclive"], "stage1.loss": "dcr"}
    losses = jobs.train_projector(open_job(folder, tmp_path, **small))[2].losses
    assert "left out" not in caplog.text
    written = tmp_path / "stage1" / "dvclive" / "plots" / "metrics"
    for name in losses.drop(columns="step"):
        measured = losses[["step", name]].dropna()
        found = pd.read_csv(written / f"{name}.tsv", sep="\t")
        np.testing.assert_allclose(found.to_numpy(), measured.to_numpy())
    assert {"loss", "loss-few", "loss-many", "samples-few"} <= set(losses)


def test_a_batch_names_the_source_of_each_of_its_samples(world):
    data = open_data(world)
    batches = iterate_batches(data.latents, data.sources, 4, 0, range(5), 0, alone(), 0)
    for batch in batches:
        names = [batch["source_names"][number] for number in batch["sources"]]
        assert names == ["few" if int(key) < FEW else "many" for key in batch["keys"]]


def test_sums_of_all_processes_become_means_and_a_source_that_was_not_drawn_is_nan():
    def sums(losses, sources):
        batch = Batch([], *[torch.empty(0)] * 5)
        batch.source_names, batch.sources = ["a", "b", "c"], torch.tensor(sources)
        rows = torch.arange(len(losses))
        return by_source(batch, rows, {"loss": torch.tensor(losses)})

    ranks = [sums([1.0, 2.0, 6.0], [0, 1, 1]), sums([3.0, 4.0, 5.0], [0, 0, 0])]
    mean = {name: float(ranks[0][name] + ranks[1][name]) / 2 for name in ranks[0]}
    found = of_sources(mean | {"loss": 1.5}, 2)
    assert math.isnan(found.pop("loss-c"))
    assert found == {
        "loss": 1.5,
        "loss-a": 3.25,
        "loss-b": 4.0,
        "samples-a": 4,
        "samples-b": 2,
        "samples-c": 0,
    }


def test_one_source_adds_nothing_to_a_log(world, tmp_path):
    batch = Batch([], *[torch.empty(0)] * 5)
    assert by_source(batch, torch.arange(2), {"loss": torch.zeros(2)}) == {}


def test_weights_and_what_they_are_of_are_part_of_what_a_run_depends_on(folder, world, tmp_path):
    backbone, diffusion, latents = world
    plan_mixture(folder, diffusion, {"few": 2.0, "many": 3.0}).write(tmp_path)
    other = input_hashes(open_latents(tmp_path), backbone, diffusion)
    own = input_hashes(latents, backbone, diffusion)
    assert {name for name in own if own[name] != other[name]} == {"mixture"}
    single = input_hashes(load_world(write_world(tmp_path / "one"))[2], backbone, diffusion)
    assert "mixture" not in single


def test_latents_of_other_weights_are_refused(world):
    check_mixture(world[2], WEIGHTS)
    with pytest.raises(UserError, match=r"few \(1\), many \(3\), the recipe names few \(2\), many"):
        check_mixture(world[2], {"few": 2.0, "many": 3.0})


def test_a_source_without_a_sample_is_told(folder, world):
    with pytest.raises(UserError, match="source none: no sample of it was accepted"):
        plan_mixture(folder, world[1], WEIGHTS | {"none": 1.0})
    with pytest.raises(UserError, match="source many: is in the manifest and no longer"):
        plan_mixture(folder, world[1], {"few": 1.0})
    with pytest.raises(UserError, match=r"source few of .* has no sample to train on"):
        split_sources(world[2], list(range(FEW, NUM_IMAGES)))


def seen(notes):
    """Return the keys of each step of stage 1, in the order of ranks, as it was last taken."""
    last = {}
    for path in sorted(notes):
        attempt = {}
        for line in path.read_text().splitlines():
            run, step, rank, keys = json.loads(line)
            if run == "stage1":
                attempt.setdefault(step, {})[rank] = keys
        last |= attempt
    return [[by_rank[rank] for rank in sorted(by_rank)] for _, by_rank in sorted(last.items())]


@pytest.mark.slow
def test_ten_kills_and_other_numbers_of_processes_change_no_order(folder, tmp_path):
    """A run that is killed at ten random steps and goes on as 1, 2, 1, ... processes.

    Every process has batches of two: with two of them a step takes twice as far along the order.
    """
    steps = 60
    sizes = {f"stage{stage}.train_batch_size": 2 for stage in (1, 2)}
    sizes |= {"stage1.max_train_steps": steps, "stage2.max_train_steps": 1}

    def train(count, name, notes, cut=None):
        checkpoints = tmp_path / name / "checkpoints" / "stage1"
        checkpoints.mkdir(parents=True, exist_ok=True)
        newest = max(checkpoints.iterdir(), key=step_of, default="latest")
        resume = {"checkpoints.resume_from": str(newest)}  # named: of another number of processes
        cuts = (count, folder, tmp_path / name, None, cut, train_and_note)
        return in_processes(*cuts, notes=tmp_path / notes, **sizes, **resume)

    saved = sorted(random.Random(0).sample(range(2, steps, 2), 10))
    for number, step in enumerate(saved):  # another checkpoint each, so that each attempt counts
        codes = train(1 + number % 2, "cut", f"cut-{number:02d}", ("stage1", step + 1, "update"))
        assert -signal.SIGKILL in codes
    assert train(1, "cut", "cut-99") == [0]
    assert train(1, "whole", "whole-00") == [0]

    found, whole = seen(tmp_path.glob("cut-*")), seen(tmp_path.glob("whole-*"))
    assert len(found) == len(whole) == steps
    assert {len(ranks) for ranks in found} == {1, 2}
    changes = [len(one) != len(next_one) for one, next_one in pairwise(found)]
    assert sum(changes) == 10  # each attempt went on from the one before
    went = list(chain.from_iterable(chain.from_iterable(found)))
    order = list(chain.from_iterable(chain.from_iterable(whole)))
    assert went[: len(order)] == order  # so no two ranks ever took the same place


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (
            {"few": 1.0, "many": 1.0, "new": 1.0},
            r"source new: .*came into .* since; run `kedro run",
        ),
        ({"few": 1.0, "another": 1.0}, "source many: is in the manifest and no longer in the rec"),
        ({"shards": 1.0}, "source few: is in the manifest and no longer in the recipe; run `k"),
    ],
    ids=["one came", "one was renamed", "plain shards"],
)
def test_sources_that_changed_since_validation_are_validated_again(
    folder, world, weights, sentence
):
    with pytest.raises(UserError, match=sentence):
        plan_mixture(folder, world[1], weights)
