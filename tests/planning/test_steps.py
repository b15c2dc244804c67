"""A plan's step is the trainer's: the same numbers as its own plan, and as what is counted."""

from dataclasses import replace

import pytest
import torch

from dcr.models.backbones import load_backbone
from dcr.planning.outlines import outlines
from dcr.planning.steps import Steps
from dcr.training import jobs, trainer
from dcr.training.cost import plan
from dcr.training.counting import Operations
from dcr.training.memory import MEMORY_SHARE
from dcr.training.runs import all_runs
from live_bytes import LiveBytes
from training_world import (
    EXACT_SAVINGS,
    open_job,
    open_micro_step,
    parameters,
    run_of,
    write_world,
)

BRIEF = {"stage1.max_train_steps": 1, "stage2.max_train_steps": 1, "held_out.every_steps": 10}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def models(world):
    return outlines(f"local-dir:{world / 'clip'}", str(world / "diffusion"))


@pytest.mark.parametrize(
    "changes",
    [
        {"baselines": ["reconstruction", "naive"]},
        EXACT_SAVINGS,
        {"loss.base_embedding_weight": 1.0, "loss.negatives_gradient": False},
        {"mixed_precision": "bf16", "execution.gradient_checkpointing": "tower"},
        {"tuning.mode": "full", "batches.negatives_count": 2, "batches.num_views": 2},
        {"condition": "patch_tokens", "tuning.lora.dropout": 0.0, "stage1.loss": "dcr"},
        {"method": "end_to_end", "end_to_end_max_train_steps": 1},
    ],
    ids=str,
)
def test_it_is_the_plan_that_the_run_itself_tells(world, models, tmp_path, monkeypatch, changes):
    told = {}

    def note(micro_step, *arguments):
        """Plan as the trainer does, and note it by the run's name."""
        told[micro_step.run.name] = plan(micro_step, *arguments)
        return told[micro_step.run.name]

    monkeypatch.setattr(trainer, "plan", note)
    job = open_job(world, tmp_path, **BRIEF | changes)
    projector, _, _ = jobs.train_projector(job)
    jobs.train_adapters(job, projector)
    steps = Steps(models)
    runs = all_runs(parameters(**BRIEF | changes))
    assert told.keys() == runs.keys()
    for name, plan_of_run in told.items():
        found = steps.of(runs[name]).plan()
        assert found.step_flops == plan_of_run.step_flops
        assert found.rows_per_chunk == plan_of_run.rows_per_chunk
        # But for a few bytes of what half precision is cast from.
        exactly = changes.get("mixed_precision", "no") == "no"
        bytes_told = pytest.approx(plan_of_run.step_bytes, rel=0 if exactly else 1e-3, abs=0)
        assert found.step_bytes == bytes_told


def test_where_memory_decides_it_is_the_step_that_the_trainer_then_takes(world, models):
    def step(checkpointing):
        changes = {"execution.gradient_checkpointing": checkpointing}
        return Steps(models).of(run_of(parameters(**changes), "dcr")).with_numbers(rows=0)

    auto, kept, again = (step(which) for which in ("auto", "none", "tower"))
    needed = kept.with_numbers(rows=4).plan().step_bytes / MEMORY_SHARE + kept.weight_bytes
    enough, short = int(needed) + 2, int(needed) - 2
    assert (auto.keeps_tower(enough), auto.keeps_tower(short)) == (True, False)
    assert auto.plan(enough) == kept.plan(enough) != again.plan(enough)
    assert auto.plan(short) == again.plan(short) != kept.plan(short)
    assert auto.plan() == again.plan()


@pytest.mark.parametrize("name", ["dcr", "reconstruction", "naive"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_its_operations_are_those_that_are_counted(world, models, name, weight):
    changes = {"loss.base_embedding_weight": weight}
    micro_step, collated = open_micro_step(world, name, **changes)
    if micro_step.base:  # which in a run has no adapter
        micro_step.base = load_backbone(f"local-dir:{world / 'clip'}")
    with Operations() as operations:
        micro_step(collated, 0, 2)
    planned = Steps(models).of(run_of(parameters(**changes), name)).plan()
    assert planned.step_flops == pytest.approx(operations.total, rel=0.05)


@pytest.mark.parametrize("folded", [False, True])
def test_its_weights_are_all_that_a_process_holds(world, models, folded):
    changes = {"execution.folded_upsampling": folded}
    backbone = load_backbone(f"local-dir:{world / 'clip'}")
    micro_step, _ = open_micro_step(world, **changes)
    diffusion = micro_step.diffusion
    modules = [micro_step.model.backbone.model, micro_step.model.projector, backbone.model]
    modules += [diffusion.unet, diffusion.vae, diffusion.text_encoder]
    tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
    step = Steps(models).of(run_of(parameters(**changes), "dcr"))
    assert step.weight_bytes == sum(t.numel() * t.element_size() for t in tensors)


def test_half_precision_and_a_frozen_tower_change_the_weights(models):
    def weights(**changes):
        return Steps(models).of(run_of(parameters(**changes), "dcr")).weight_bytes

    assert weights(mixed_precision="bf16") < weights()
    assert weights(**{"loss.base_embedding_weight": 1.0}) > weights()


def test_runs_that_are_alike_are_measured_once(world, models):
    built = []
    counting = replace(models, backbone=lambda: built.append(1) or models.backbone())
    steps = Steps(counting)
    for run in all_runs(parameters(stage2_seeds=[1, 2], baselines=["naive"])).values():
        steps.of(run)
    assert len(built) == 2  # stage 1 and stage 2


def test_rows_follow_from_memory_less_weights(models):
    step = Steps(models).of(run_of(parameters(), "dcr")).with_numbers(rows=0)
    one = step.with_numbers(rows=1).plan()
    every = step.with_numbers(rows=4).plan()
    memory = step.weight_bytes + int(every.step_bytes / 0.7) + 1
    assert step.plan(memory) == every
    assert step.fits(every, memory)
    tight = step.weight_bytes + int(one.step_bytes / 0.7) + 1
    assert step.plan(tight) == one
    assert not step.fits(one, tight - 8)


def test_sharded_runs_have_a_share_of_what_trains(models):
    numbers = {"processes.num_processes": 2, "tuning.mode": "full"}
    whole = Steps(models).of(run_of(parameters(**numbers), "dcr"))
    part = Steps(models).of(run_of(parameters(**numbers, **{"processes.sharding": "fsdp2"}), "dcr"))

    def count(step):
        return sum(tensor.numel() for tensor in step.trainable.values())

    assert count(whole) / 2 <= count(part) < 0.6 * count(whole)
    assert torch.is_tensor(next(iter(part.trainable.values())))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("dcr", {}),
        ("dcr", EXACT_SAVINGS),
        ("dcr", {"execution.rows_per_chunk": 16, "mixed_precision": "bf16"}),
        ("reconstruction", {}),
        ("naive", {}),
    ],
    ids=str,
)
def test_its_memory_is_what_tensors_take_at_most(world, models, name, changes):
    numbers = {"stage2.train_batch_size": 16, "execution.rows_per_chunk": 4} | changes
    micro_step, collated = open_micro_step(world, name, **numbers)
    micro_step(collated, 0, 4)  # makes what is constant in all steps
    micro_step.model.zero_grad()
    step = Steps(models).of(run_of(parameters(**numbers), name))
    with LiveBytes() as live:
        micro_step(collated, 0, numbers["execution.rows_per_chunk"])
    moments = sum(8 * parameter.numel() for parameter in step.trainable.values())
    assert step.plan().step_bytes - moments == pytest.approx(live.peak, rel=0.15)
