"""What is shown of a run: right numbers, and no change of its course."""

import csv
import json
import logging
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from dcr.training import cost as cost_module
from dcr.training import jobs
from dcr.training import memory as memory_module
from dcr.training.contrast import Contrast
from dcr.training.cost import Cost, plan
from dcr.training.distributed.processes import Processes, alone
from dcr.training.monitoring.diagnostics import diagnose
from dcr.training.monitoring.pictures import keep_picture, kept_pictures
from dcr.training.objectives import OBJECTIVES
from dcr.training.step import MicroStep
from tiny_conditions import Exact, TinyConditions, draw_batch, step_of, tiny_predict, weights
from training_world import fixed_projector, open_job, parameters, run_of, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def plain_run(world, tmp_path_factory):
    """A run of DCR that shows nothing."""
    job = open_job(
        world,
        tmp_path_factory.mktemp("plain"),
        **{"monitoring.diagnostics_every_steps": 0, "monitoring.contrast_diagnostics": False},
    )
    return jobs.train_adapters(job, fixed_projector(world))


def test_dropout_of_the_diagnostics_is_that_of_the_micro_step_that_saw_the_batch(
    world, tmp_path, monkeypatch
):
    seen = []
    seed_dropout = MicroStep.seed_dropout

    def watched(self, number):
        seen.append(number)
        seed_dropout(self, number)

    monkeypatch.setattr(MicroStep, "seed_dropout", watched)
    changes = {
        "stage2.max_train_steps": 2,
        "stage2.gradient_accumulation_steps": 2,
        "monitoring.diagnostics_every_steps": 2,
        "tuning.lora.dropout": 0.5,
    }
    jobs.train_adapters(open_job(world, tmp_path, **changes), fixed_projector(world))
    assert seen == [0, 1, 2, 3, 3, 3]


def test_watching_a_run_changes_no_bit_of_it(world, plain_run, tmp_path):
    shown = {
        "monitoring.diagnostics_every_steps": 1,
        "monitoring.images_every_steps": 3,
        "monitoring.num_images": 2,
        "monitoring.num_denoising_steps": 2,
    }
    job = open_job(world, tmp_path, **{"monitoring.report_to": ["dvclive", "tensorboard"]}, **shown)
    watched = jobs.train_adapters(job, fixed_projector(world))
    expected = plain_run.towers["dcr"]
    assert [
        name for name in expected if not torch.equal(watched.towers["dcr"][name], expected[name])
    ] == []
    plain, losses = plain_run.runs["dcr"].losses, watched.runs["dcr"].losses
    pd.testing.assert_frame_equal(losses[plain.columns], plain)

    assert sorted(path.name for path in (tmp_path / "dcr/images").iterdir()) == [
        "step-000003.png",
        "step-000006.png",
    ]
    shown_by_dvclive = tmp_path / "dcr/dvclive/plots/images/reconstructions"
    for path in (tmp_path / "dcr/images").iterdir():
        shown = Image.open(shown_by_dvclive / path.name)
        assert shown.convert("RGB").tobytes() == Image.open(path).tobytes()
    width, height = Image.open(tmp_path / "dcr/images/step-000003.png").size
    assert (width, height) == (2 * 34 + 2, 2 * 34 + 2)
    table = list(
        csv.DictReader((tmp_path / "dcr/dvclive/plots/metrics/loss.tsv").open(), delimiter="\t")
    )
    assert [int(row["step"]) for row in table] == [1, 2, 3, 4, 5, 6]
    assert [float(row["loss"]) for row in table] == pytest.approx(list(plain["loss"]))
    assert losses["conflict_cosine"].between(-1, 1).all()
    assert losses["effective_negatives"].between(1, 3).all()
    assert not any((tmp_path / "dcr").rglob("dvc.yaml"))


def test_a_run_that_goes_on_shows_its_own_pictures_again_and_no_others(world, tmp_path):
    """Another run, of other parameters, has left a picture of the second step in the folder."""
    changes = {
        "monitoring.images_every_steps": 2,
        "monitoring.num_images": 2,
        "monitoring.num_denoising_steps": 2,
        "checkpoints.every_steps": 2,
        "checkpoints.total_limit": 3,
    }
    jobs.train_adapters(open_job(world, tmp_path, **changes), fixed_projector(world))
    pictures = tmp_path / "dcr/images"
    shutil.copy(pictures / "step-000006.png", pictures / "step-000002.png")
    shutil.rmtree(tmp_path / "dcr/checkpoint-6")
    changes["monitoring.report_to"] = ["dvclive"]
    jobs.train_adapters(open_job(world, tmp_path, **changes), fixed_projector(world))
    shown = tmp_path / "dcr/dvclive/plots/images/reconstructions"
    assert sorted(path.name for path in shown.iterdir()) == ["step-000004.png", "step-000006.png"]


def test_a_picture_is_kept_with_the_row_that_it_was_drawn_at(tmp_path):
    row = {"step": 2, "loss": 0.1 + 0.2, "validation_loss": float("nan")}
    path = keep_picture(Image.new("RGB", (4, 3), "teal"), tmp_path, row)
    assert kept_pictures(tmp_path, [{"step": 1, "loss": 1.0}, json.loads(json.dumps(row))]) == {
        2: path
    }
    assert kept_pictures(tmp_path, [row | {"loss": 0.3}]) == {}
    Image.new("RGB", (4, 3), "teal").save(path)
    assert kept_pictures(tmp_path, [row]) == {}
    path.write_bytes(b"no picture")
    assert kept_pictures(tmp_path, [row]) == {}


def tiny_micro_step(model, objective):
    """What diagnostics ask of a micro-step, on a model small enough for exact arithmetic."""
    loss = weights(contrast_weight=0.3, reconstruction_weight=0.7, reconstruction_share=0.4)

    class Halved(Exact):
        scaler = torch.amp.GradScaler("cpu", enabled=False)

        def backward(self, loss):
            (loss / 2).backward()

    precision = Halved()
    return SimpleNamespace(
        contrast=Contrast(),
        run=SimpleNamespace(
            objective=objective,
            loss=loss,
            parameters=parameters(),
            stage=parameters(**{"stage2.gradient_accumulation_steps": 2}).stage2,
        ),
        precision=precision,
        processes=alone(),
        build_objective=lambda name, loss, contrast: OBJECTIVES[name](
            loss, contrast, model, tiny_predict(), precision, alone()
        ),
        seed_dropout=lambda number: None,
    )


@pytest.mark.parametrize(
    ("objective", "contrast"), [("dcr", "dcr"), ("reconstruction", "dcr"), ("naive", "naive")]
)
def test_the_conflict_is_the_cosine_of_the_two_terms_gradients(objective, contrast):
    def gradient(name):
        model = TinyConditions()
        step_of(name, model, tiny_predict(), draw_batch(), weights(), rows_per_chunk=5)
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    of_error = gradient("reconstruction")
    of_contrast = gradient("dcr") if contrast == "dcr" else gradient("naive") - of_error
    model = TinyConditions()
    found = diagnose(
        tiny_micro_step(model, objective), dict(model.named_parameters()), draw_batch(), 1, 2
    )
    expected = of_contrast @ of_error / of_contrast.norm() / of_error.norm()
    assert found["conflict_cosine"] == pytest.approx(expected.item(), rel=1e-5)
    assert found["contrast_grad_norm"] == pytest.approx(of_contrast.norm().item(), rel=1e-5)
    assert found["reconstruction_grad_norm"] == pytest.approx(of_error.norm().item(), rel=1e-5)
    assert ("similarity_view" in found) == (contrast == "dcr")
    assert all(p.grad is None for p in model.parameters())


def test_the_plan_counts_parameters_steps_samples_and_operations(world, tmp_path, caplog):
    caplog.set_level(logging.INFO, "dcr")
    job = open_job(world, tmp_path)
    projector, _, _ = jobs.train_projector(job)
    numbers = sum(t.numel() for t in projector.values())
    modules = (
        job.backbone.model,
        job.diffusion.unet,
        job.diffusion.vae,
        job.diffusion.text_encoder,
    )
    text_tower = sum(
        p.numel() for n, p in job.backbone.model.named_parameters() if not n.startswith("visual.")
    )
    frozen = sum(p.numel() for module in modules for p in module.parameters()) - text_tower
    assert (
        f"stage1: {numbers:,} trainable and {frozen:,} frozen parameters; steps 1 to 6 of 4"
        " samples, 24 in all" in caplog.text
    )


def setting(objective, rows=0, **batches):
    """What the plan asks of a micro-step: a batch of 6, memory for 1000 bytes."""
    numbers = {
        "stage2.train_batch_size": 6,
        "stage2.gradient_accumulation_steps": 2,
        "execution.rows_per_chunk": rows,
    }
    return SimpleNamespace(
        run=run_of(parameters(**numbers | batches), objective),
        contrast=Contrast(),
        diffusion=SimpleNamespace(device=torch.device("cpu")),
        processes=alone(),
    )


@pytest.mark.parametrize(
    ("micro_step", "rows", "pairs", "pairs_at_once", "images"),
    [
        (setting("dcr", rows=2), 2, 6 * 7, 2 * 7, 12),
        (setting("dcr"), 4, 6 * 7, 4 * 7, 12),  # 700 bytes, less 12 * 2 + 12 * 10, over 7 * 18
        (
            setting("dcr", **{"batches.negatives_count": 2, "batches.num_views": 2}),
            6,
            6 * 5,
            6 * 5,
            18,
        ),
        (setting("reconstruction", rows=1), 1, 6, 6, 6),
    ],
)
def test_a_steps_cost_is_that_of_its_pairs_and_images(
    monkeypatch, micro_step, rows, pairs, pairs_at_once, images
):
    monkeypatch.setattr(cost_module, "free_bytes", lambda *_: 1000)
    trainable = {"a": nn.Parameter(torch.zeros(10))}
    planned = plan(
        micro_step, Cost(image_bytes=2, image_flops=5, pair_bytes=18, pair_flops=7), trainable
    )
    assert planned.rows_per_chunk == rows
    assert planned.step_flops == 2 * (pairs * 7 + images * 5)
    assert planned.step_bytes == pairs_at_once * 18 + images * 2 + 12 * 10


@pytest.mark.parametrize(
    ("kept", "used", "rows"), [(0, 0, 3), (440, 0, 5), (440, 220, 4), (440, 440, 3)]
)
def test_what_the_allocator_keeps_is_as_good_as_free(monkeypatch, kept, used, rows):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (600, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: kept)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: used)
    micro_step = setting("dcr")
    micro_step.diffusion.device = torch.device("cuda", 0)
    found = plan(micro_step, Cost(2, 5, 18, 7), {}).rows_per_chunk
    assert found == min(6, (0.7 * (600 + kept - used) - 24) // 126) == rows


def test_processes_beside_each_other_leave_each_other_memory(monkeypatch):
    monkeypatch.setattr(
        memory_module.psutil, "virtual_memory", lambda: SimpleNamespace(available=800)
    )
    found = []
    for count in (1, 2):
        micro_step = setting("dcr")
        micro_step.diffusion.device = torch.device("cpu")
        micro_step.processes = Processes(0, 1, torch.device("cpu"), is_worker=True)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(count))
        found.append(plan(micro_step, Cost(2, 5, 18, 7), {}).rows_per_chunk)
    assert found == [(0.7 * 800 - 24) // 126, (0.7 * 400 - 24) // 126]


def test_rows_are_never_none_and_never_more_than_there_are(monkeypatch):
    for free, rows in ((0, 1), (10**9, 6)):
        monkeypatch.setattr(cost_module, "free_bytes", lambda *_, free=free: free)
        assert plan(setting("dcr"), Cost(2, 5, 18, 7), {}).rows_per_chunk == rows
