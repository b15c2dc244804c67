"""Whole runs with other signals and sources of positives, on models from disk."""

import shutil

import pytest
import torch

from dcr.errors import UserError
from dcr.models.diffusion import load_diffusion
from dcr.positives.making import SynthesisOptions
from dcr.positives.synthesis import plan_synthesis
from dcr.training import jobs
from dcr.training.data import collate
from dcr.training.job import open_job
from dcr.training.samples import WithCandidates
from training_world import fixed_projector, load_world, parameters, write_latents, write_world

STEPS = {
    "stage2.max_train_steps": 2,
    "held_out.every_steps": 2,
    "monitoring.diagnostics_every_steps": 1,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    folder = write_world(tmp_path_factory.mktemp("world"))
    _, diffusion, latents = load_world(folder)
    plan_synthesis(latents, diffusion, OPTIONS).write(folder / "positives")
    return folder


OPTIONS = SynthesisOptions(
    num_candidates=2,
    num_steps=2,
    eta=0.1,
    sample_weight=0.1,
    condition="none",
    seed=0,
    batch_size=64,
)


def train(world, folder, candidates="positives", **changes):
    backbone, diffusion, latents = load_world(world)
    p = parameters(**STEPS, **changes)
    job = open_job(p, latents, backbone, diffusion, folder, world / candidates)
    return jobs.train_adapters(job, fixed_projector(world)).runs


@pytest.mark.parametrize(
    "changes",
    [
        {"signal.name": "dclw"},
        {
            "positives.source": "clip_neighbour",
            "positives.clip_neighbour_rule": "drop_false_positive",
        },
        {"positives.source": "synthetic"},
        {"batches.num_views": 2, "signal.name": "mv_dhel"},
        {"method": "naive", "signal.name": "mochi", "positives.source": "synthetic"},
    ],
    ids=["signal", "neighbours", "made", "views", "features"],
)
def test_a_recipe_may_ask_for_it(world, tmp_path, changes):
    (run,) = train(world, tmp_path, **changes).values()
    assert run.steps == 2
    assert run.skipped_steps == 0
    assert run.losses["loss"].notna().all()
    of_predictions = {"effective_negatives", "target_gradient_share"}
    measured = {"alignment", "uniformity"} | (
        of_predictions if changes.get("method") != "naive" else set()
    )
    assert measured == (measured | of_predictions) & set(run.losses.columns)


def test_what_is_asked_for_changes_the_run(world, tmp_path):
    """The first step's loss is that of the same weights on the same batch."""
    runs = {
        "plain": train(world, tmp_path / "plain"),
        "signal.name": train(world, tmp_path / "signal", **{"signal.name": "dcl"}),
        "made": train(world, tmp_path / "made", **{"positives.source": "synthetic"}),
        "neighbours": train(
            world, tmp_path / "neighbours", **{"positives.source": "clip_neighbour"}
        ),
    }
    assert len({float(run["dcr"].losses["loss"][0]) for run in runs.values()}) == 4


def test_training_draws_one_candidate_an_epoch(world):
    _, _, latents = load_world(world)
    from dcr.latents import LatentCache

    made = LatentCache(world / "positives", "synthesis")
    samples = WithCandidates(latents, made)
    batch = collate([samples[3, 0], samples[3, 1]])
    assert batch["keys"] == [latents.key(3)] * 2
    assert (batch["candidates"][0].numpy() == made[3, 0]["crop"]).all()
    assert (batch["candidates"][1].numpy() == made[3, 1]["crop"]).all()
    assert (batch["candidates"][0] != batch["candidates"][1]).any()


def test_without_made_positives_the_pipeline_is_named(world, tmp_path):
    with pytest.raises(UserError, match="kedro run --pipelines synthesis"):
        train(world, tmp_path, candidates="nothing", **{"positives.source": "synthetic"})


@pytest.mark.parametrize("changes", [{"dtype": "float16"}, {"horizontal_flip": 1.0}])
def test_positives_of_other_latents_are_refused(world, tmp_path, changes):
    """The same images, but their latents were made anew since, and the positives were not."""
    copy = shutil.copytree(world, tmp_path / "world")
    write_latents(copy, load_diffusion(str(copy / "diffusion")), **changes)
    with pytest.raises(
        UserError, match=r"holds positives of other images or latents; .*--pipelines synthesis"
    ):
        train(copy, tmp_path, candidates=copy / "positives", **{"positives.source": "synthetic"})
