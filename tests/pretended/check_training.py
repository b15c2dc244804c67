"""Both stages and all methods on the pretended device: the CPU's bits, and hardly a wait."""

import pytest
import torch
from PIL import Image, ImageChops

from dcr.training import job as job_module
from dcr.training import jobs
from dcr.training.distributed.processes import alone
from dcr.training.features import FEATURES
from dcr.training.stopping import Stopped
from diffusion_models import tiny_diffusion
from mixture_world import write_mixture
from pretended_device import DEVICE, PretendedDevice
from pretended_world import train, waits_of_step
from training_world import fixed_projector, open_job, open_micro_step, write_latents, write_world

WAITS_A_STEP = 3  # losses, gradient norm, and the mean over ranks where there are several
EVERYTHING = {
    "loss.target_weight": 0.3,
    "loss.reconstruction_share": 0.2,
    "loss.base_embedding_weight": 0.5,
    "batches.num_views": 2,
    "batches.snr_gamma": 5.0,
    "batches.negatives_count": 2,
    "execution.constant_prompt": True,
    "execution.shared_prefix": True,
    "execution.folded_upsampling": True,
    "execution.split_gates": True,
    "execution.gradient_checkpointing": "tower",
    "stage2.gradient_accumulation_steps": 1,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    return write_mixture(tmp_path_factory.mktemp("mixture"))


@pytest.fixture(scope="module")
def online(tmp_path_factory):
    folder = write_world(tmp_path_factory.mktemp("online"))
    write_latents(folder, tiny_diffusion(folder / "tokenizer"), mode="online")
    return folder


@pytest.mark.parametrize("name", ["stage1", "dcr", "reconstruction", "naive"])
def test_trains_to_the_cpus_bits(world, tmp_path, name):
    plain = train(world, tmp_path / "cpu", name, 2, pretend=False)
    pretended = train(world, tmp_path / "pretended", name, 2, pretend=True)
    assert pretended.equals(plain)


@pytest.mark.parametrize("name", ["stage1", "dcr"])
def test_a_step_waits_hardly_ever(world, tmp_path, name):
    shorter = train(world, tmp_path / "shorter", name, 1, pretend=True)  # makes what is made once
    pretended = train(world, tmp_path / "pretended", name, 2, pretend=True)
    assert (pretended.waits - shorter.waits).total() <= WAITS_A_STEP, (
        pretended.waits - shorter.waits
    )


@pytest.mark.parametrize("name", ["stage1", "dcr"])
def test_several_sources_train_to_the_cpus_bits_and_wait_for_nothing_more(mixture, tmp_path, name):
    plain = train(mixture, tmp_path / "cpu", name, 2, pretend=False)
    shorter = train(mixture, tmp_path / "shorter", name, 1, pretend=True)
    pretended = train(mixture, tmp_path / "pretended", name, 2, pretend=True)
    assert pretended.equals(plain)
    waits = pretended.waits - shorter.waits
    assert waits.total() == WAITS_A_STEP - 1, waits  # there is one process


@pytest.mark.parametrize("name", ["stage1", "dcr"])
def test_images_that_are_encoded_on_the_way_give_the_same(online, tmp_path, name):
    plain = train(online, tmp_path / "cpu", name, 2, pretend=False)
    assert train(online, tmp_path / "pretended", name, 2, pretend=True).equals(plain)


def test_kept_features_give_the_cpus_bits_and_no_step_waits_for_them(world, tmp_path):
    keep = {"execution.cache_features": True, "stage1.train_batch_size": 16}
    plain = train(world, tmp_path / "cpu", "stage1", 3, pretend=False, **keep)
    shorter = train(world, tmp_path / "shorter", "stage1", 2, pretend=True, **keep)
    pretended = train(world, tmp_path / "pretended", "stage1", 3, pretend=True, **keep)
    assert pretended.equals(plain)
    for folder in ("shorter", "pretended"):  # of 24 crops, read in 32 and 48 samples
        assert list((tmp_path / folder / FEATURES).iterdir())
    assert (pretended.waits - shorter.waits).total() <= WAITS_A_STEP


@pytest.mark.parametrize(
    "changes",
    [
        EVERYTHING,
        {
            "execution.constant_prompt": True,
            "loss.negatives_gradient": False,
            "monitoring.contrast_diagnostics": True,
            "batches.num_views": 2,
        },
        {"positives.source": "clip_neighbour", "execution.gradient_checkpointing": "all"},
        {"published": "all"},
        {
            "condition": "patch_tokens",
            "tuning.mode": "last_blocks",
            "tuning.num_blocks": 1,
            "method": "end_to_end",
        },
    ],
    ids=["everything", "approximate", "neighbours", "published", "tokens"],
)
def test_other_ways_train_to_the_cpus_bits(world, tmp_path, changes):
    name = changes.pop("method", "dcr")
    plain = train(world, tmp_path / "cpu", name, 1, pretend=False, **changes)
    assert train(world, tmp_path / "pretended", name, 1, pretend=True, **changes).equals(plain)


def test_pictures_and_diagnostics_are_the_cpus(world, tmp_path):
    asked = {
        "monitoring.images_every_steps": 1,
        "monitoring.diagnostics_every_steps": 1,
        "monitoring.num_images": 2,
        "monitoring.num_denoising_steps": 2,
    }
    found = [
        train(world, tmp_path / str(on), "dcr", 1, pretend=on, **asked) for on in (False, True)
    ]
    assert found[0].equals(found[1])
    drawn = [
        Image.open(tmp_path / str(on) / "dcr" / "images" / "step-000001.png")
        for on in (False, True)
    ]
    assert ImageChops.difference(*drawn).getbbox() is None


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("stage1", {"processes.num_processes": 2}),
        ("dcr", {"processes.num_hosts": 2}),
        ("dcr", {"processes.num_methods_at_once": 2}),
    ],
)
def test_who_starts_workers_holds_nothing_on_the_device(
    world, tmp_path, monkeypatch, name, changes
):
    changes |= {"baselines": ["naive"]} if "processes.num_methods_at_once" in changes else {}
    job = open_job(world, tmp_path, **changes)
    found = []

    def launch(*args):
        found.append((job.backbone.device.type, job.diffusion.device.type, args[-1]))
        raise Stopped

    monkeypatch.setattr(jobs, "launch", launch)
    with PretendedDevice():
        job.backbone.to(DEVICE)
        job.diffusion.to(DEVICE)
        job.processes = alone(job.diffusion.device)
        with pytest.raises(Stopped):
            (
                jobs.train_projector(job)
                if name == "stage1"
                else jobs.train_adapters(job, fixed_projector(world))
            )
    assert found == [("cpu", "cpu", "cuda")]


def test_training_runs_where_the_recipe_put_the_models(world, tmp_path):
    job = open_job(world, tmp_path)
    assert job.processes.device == torch.device("cpu")
    with PretendedDevice():
        job.diffusion.to(DEVICE)
        parts = job.parameters, job.latents, job.backbone, job.diffusion, tmp_path
        assert job_module.open_job(*parts).processes.device == DEVICE


def test_bfloat16_trains_to_the_cpus_bits(world, tmp_path):
    """Autocast's list is the CPU's in both; what it cannot show is that CUDA's is another."""
    plain = train(world, tmp_path / "cpu", "dcr", 1, pretend=False, mixed_precision="bf16")
    assert train(
        world, tmp_path / "pretended", "dcr", 1, pretend=True, mixed_precision="bf16"
    ).equals(plain)


@pytest.mark.parametrize(
    "changes",
    [{}, EVERYTHING, {"loss.negatives_gradient": False}],
    ids=["plain", "all", "approximate"],
)
def test_no_chunk_waits(world, changes):
    with PretendedDevice() as device:
        micro_step, collated = open_micro_step(world, device=DEVICE, **changes)
        micro_step(collated, 0, 2)  # what is made once
        many, one = (
            waits_of_step(micro_step, collated, device, rows) for rows in (1, len(collated["keys"]))
        )
    assert many == one
    assert many.total() == 1, many
