"""Whatever runs a model beside training, on the pretended device: the CPU's bits."""

from dataclasses import replace

import pytest
import torch

from dcr.data.benchmark_sets import open_set
from dcr.devices import resolve_device
from dcr.evaluation import evaluate_encoder
from dcr.evaluation.embedding import embed_images, embed_texts
from dcr.export.folder import write_encoder
from dcr.files import sha256_folder
from dcr.latents import LatentCache
from dcr.latents.encoding import MomentsEncoder
from dcr.models.backbones import load_backbone, merge_lora
from dcr.positives.making import SynthesisOptions
from dcr.positives.synthesis import plan_synthesis
from dcr.training.model import add_lora
from device_runs import align, without_fast_path
from evaluation_options import quick_options
from latent_world import OPTIONS, World
from models import TEXTS, images, randomize_adapter, tiny_hf_clip, tiny_open_clip, tiny_siglip
from pretended_device import DEVICE, PretendedDevice
from timm_models import tiny_open_clip_siglip
from training_world import lora
from voc_sets import write_voc

CARD = {"base_model": "tiny", "recipe": "demo", "method": "dcr", "licence": "apache-2.0"}
FAMILIES = {
    "open_clip": tiny_open_clip,
    "clip": tiny_hf_clip,
    "siglip": tiny_siglip,
    "timm": tiny_open_clip_siglip,
}


def load(folder, family):
    written = FAMILIES[family](folder)
    prefix = "local-dir:" if family in ("open_clip", "timm") else ""
    backbone = load_backbone(f"{prefix}{written}")
    align(backbone.model)
    # In inference mode matmul asks weights whether they do, not their pretence.
    backbone.model.requires_grad_(False)
    return backbone


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World.make(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _without_fast_path():
    with without_fast_path():
        yield


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_are_the_cpus(tmp_path, family):
    backbone = load(tmp_path / "model", family)
    expected = embed_images(backbone, images(5), 2), embed_texts(backbone, TEXTS[:2], 2)
    with PretendedDevice() as device:
        backbone.to("cuda")
        assert backbone.device == DEVICE
        device.waits.clear()
        found = embed_images(backbone, images(5), 2), embed_texts(backbone, TEXTS[:2], 2)
    for one, other in zip(expected, found, strict=True):
        assert (one == other).all()
    assert device.waits.total() <= 10, device.waits  # of three batches of images and one of texts


@pytest.mark.parametrize("family", FAMILIES)
def test_segmentation_is_the_cpus(tmp_path, family):
    backbone = load(tmp_path / "model", family)
    sets = [open_set(write_voc(tmp_path / "set", 4, 3))]
    options = quick_options(num_segmentation_patches=20, probe_max_iterations=5, batch_size=2)
    (expected,) = evaluate_encoder(backbone, sets, options)
    with PretendedDevice():
        backbone.to("cuda")
        (found,) = evaluate_encoder(backbone, sets, options)
    assert found == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_the_exported_folder_is_the_cpus(tmp_path, family):
    backbone = load(tmp_path / "model", family)
    add_lora(backbone, lora(rank=2, alpha=2, dropout=0.0, bias="none"))
    randomize_adapter(backbone.visual)
    merge_lora(backbone.visual)
    write_encoder(tmp_path / "cpu", backbone, None, CARD)
    with PretendedDevice():
        backbone.to("cuda")
        write_encoder(tmp_path / "pretended", backbone, None, CARD)
    assert sha256_folder(tmp_path / "pretended") == sha256_folder(tmp_path / "cpu")


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_moments_are_the_cpus(world, precision):
    options = replace(OPTIONS, mixed_precision=precision, channels_last=True)
    crops = torch.randint(
        256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    expected = MomentsEncoder(world.diffusion.vae, options, torch.device("cpu")).encode(
        crops, ["a", "b", "c"]
    )
    with PretendedDevice():
        found = MomentsEncoder(world.diffusion.vae, options, DEVICE).encode(crops, ["a", "b", "c"])
    assert torch.equal(found, expected)


def test_made_positives_are_the_cpus(world):
    options = SynthesisOptions(
        num_candidates=1,
        num_steps=2,
        eta=0.1,
        sample_weight=0.1,
        condition="none",
        seed=0,
        batch_size=4,
    )
    cache = world.cache()
    for part in (world.diffusion.vae, world.diffusion.unet, world.diffusion.text_encoder):
        align(part)
    plan_synthesis(cache, world.diffusion, options).write(world.folder / "cpu")
    with PretendedDevice():
        world.diffusion.to("cuda")
        plan_synthesis(cache, world.diffusion, options).write(world.folder / "pretended")
        world.diffusion.to("cpu")
    found = [LatentCache(world.folder / name, "synthesis") for name in ("cpu", "pretended")]
    assert len(found[0]) == 10
    for i in range(10):
        assert (found[0][i]["crop"] == found[1][i]["crop"]).all()


def test_a_device_by_name_is_found():
    with PretendedDevice():
        assert resolve_device("cuda") == DEVICE


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_rank_makes_its_gpu_the_current_one_before_it_loads(tmp_path, monkeypatch, name):
    chosen = []
    monkeypatch.setenv("LOCAL_RANK", "5")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    with PretendedDevice():
        assert resolve_device(name) == DEVICE
        assert resolve_device("cpu") == torch.device("cpu")
    assert chosen == [1]
