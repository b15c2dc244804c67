"""Disk as it is predicted is disk as it is taken."""

import pytest
import yaml

from dcr.models.diffusion import load_diffusion
from dcr.parameters import LatentsParameters
from dcr.planning.disk import checkpoint_bytes, checkpoints_bytes, latents_bytes
from dcr.planning.outlines import outlines
from dcr.planning.steps import Steps
from dcr.training import jobs
from training_world import (
    CONF,
    NUM_IMAGES,
    open_job,
    parameters,
    run_of,
    write_latents,
    write_world,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def latents(**changes):
    values = yaml.safe_load((CONF.parent / "parameters_latents.yml").read_text())["latents"]
    return LatentsParameters(**values | changes)


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "changes", [{}, {"dtype": "float16"}, {"dtype": "float16", "crops_per_image": 3}], ids=str
)
def test_a_latent_cache(world, changes):
    diffusion = load_diffusion(str(world / "diffusion"))
    write_latents(world, diffusion, **changes)
    predicted = latents_bytes(latents(**changes), NUM_IMAGES, 32, diffusion.vae)
    # A sample's headers and texts are rounded up, which counts at 32 px alone.
    assert size(world / "latents") <= predicted <= 1.25 * size(world / "latents")


def test_latents_that_are_made_in_training_take_none(world):
    vae = load_diffusion(str(world / "diffusion")).vae
    assert latents_bytes(latents(mode="online"), NUM_IMAGES, 32, vae) == 0


@pytest.mark.parametrize("name", ["stage1", "dcr"])
def test_checkpoints_of_a_run(world, tmp_path, name):
    changes = {"checkpoints.every_steps": 2}
    job = open_job(world, tmp_path, **changes)
    projector, _, _ = jobs.train_projector(job)
    jobs.train_adapters(job, projector)
    folders = [tmp_path / name / f"checkpoint-{step}" for step in (4, 6)]
    models = outlines(f"local-dir:{world / 'clip'}", str(world / "diffusion"))
    run = run_of(parameters(**changes), name)
    trainable = [*Steps(models).of(run).micro_step.model.trainable().values()]
    assert sorted((tmp_path / name).glob("checkpoint-*")) == folders  # total_limit
    assert checkpoint_bytes(trainable, 6) == pytest.approx(size(folders[-1]), rel=0.1)
    assert checkpoints_bytes(run, trainable) == pytest.approx(sum(map(size, folders)), rel=0.1)


def test_a_run_with_fewer_saves_than_are_kept(world):
    run = run_of(
        parameters(**{"stage1.max_train_steps": 6, "checkpoints.every_steps": 10}), "stage1"
    )
    assert checkpoints_bytes(run, []) == checkpoint_bytes([], 6)
