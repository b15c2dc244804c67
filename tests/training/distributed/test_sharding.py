"""FSDP2: two processes that share the tower's weights train as two that each have all of them."""

import math
from functools import partialmethod

import pytest
import torch
from torch import multiprocessing, nn
from torch.distributed.tensor import DTensor

from dcr.parameters import TrainingParameters
from dcr.training import jobs, trainer
from dcr.training.distributed.processes import Processes, alone
from dcr.training.distributed.sharding import full_tensor, local_shard, shard_like
from training_world import fixed_projector, fork_server, open_job, parameters, write_world

STEPS = 3
SHOWN = {
    "monitoring.diagnostics_every_steps": 2,
    "monitoring.images_every_steps": 2,
    "monitoring.num_images": 2,
    "monitoring.num_denoising_steps": 2,
}
# What is trained, and how: up to a step without or with sharding.
CASES = {
    "lora, from a plain run's checkpoint": (SHOWN, [(1, "none"), (STEPS, "fsdp2")]),
    "lora, on as a plain run": ({}, [(1, "fsdp2"), (STEPS, "none")]),
    "full": (
        {
            "tuning.mode": "full",
            "execution.gradient_checkpointing": "all",
            "loss.base_embedding_weight": 0.1,
        },
        [(2, "fsdp2"), (STEPS, "fsdp2")],
    ),
    "last blocks, naive": (
        {
            **{
                "tuning.mode": "last_blocks",
                "tuning.num_blocks": 1,
                "stage2.gradient_accumulation_steps": 2,
            },
            **{"method": "naive", "batches.gather_negatives": True},
        },
        [(STEPS, "fsdp2")],
    ),
    "compiled": ({"compile": True, "tuning.lora.dropout": 0.0}, [(STEPS, "fsdp2")]),
    "end to end": (
        {"method": "end_to_end", "condition": "patch_tokens", "mixed_precision": "bf16"},
        [(STEPS, "fsdp2")],
    ),
}


def train(world, folder, processes, steps, **changes):
    """Train stage 2; return weights and log."""
    sizes = {
        "stage2.max_train_steps": steps,
        "end_to_end_max_train_steps": steps,
        "stage2.train_batch_size": 3,
    }
    # The bias of attention keys has no gradient but rounding, which AdamW with a small epsilon
    # makes a step of.
    job = open_job(world, folder, **{"optimizer.epsilon": 1e-3}, **sizes | changes)
    job.processes = processes
    trained = jobs.train_adapters(job, fixed_projector(world))
    (name,) = trained.runs
    weights = {
        **trained.towers[name],
        **{f"projector.{key}": t for key, t in trained.projector.items()},
    }
    return {"weights": weights, "losses": trained.runs[name].losses.to_dict("list")}


def train_case(rank, count, world, folder, case):
    """Train a case plainly and as it says; leave what came out, and the shares of the weights
    that were kept.
    """
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count
    )
    processes, shares, shard = Processes(rank, count, torch.device("cpu")), [], trainer.shard

    def shard_and_note(model, blocks, processes):
        whole_size = sum(p.numel() for p in model.parameters())
        shard(model, blocks, processes)
        assert all(isinstance(p, DTensor) for p in model.parameters())
        shares.append(sum(local_shard(p).numel() for p in model.parameters()) / whole_size)

    trainer.shard = shard_and_note
    # The traced graphs, without a compiler.
    nn.Module.compile = partialmethod(nn.Module.compile, backend="eager")
    changes, parts = CASES[case]
    plain = train(world, folder / "plain", processes, STEPS, **changes)
    for steps, sharding in parts:
        sharded = train(
            world,
            folder / "sharded",
            processes,
            steps,
            **{"processes.sharding": sharding},
            **changes,
        )
    torch.save((plain, sharded, shares), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


QUICK, *OTHERS = CASES


@pytest.fixture(
    scope="module", params=[QUICK, *(pytest.param(case, marks=pytest.mark.slow) for case in OTHERS)]
)
def folder(request, world, tmp_path_factory):
    """Where two processes have trained a case."""
    folder = tmp_path_factory.mktemp("case")
    fork_server()
    multiprocessing.start_processes(
        train_case, (2, world, folder, request.param), nprocs=2, start_method="forkserver"
    )
    return folder


@pytest.mark.parametrize("rank", [0, 1])
def test_sharded_training_is_plain_training(folder, rank):
    plain, sharded, shares = torch.load(folder / f"{rank}.pt", weights_only=True)
    assert plain["weights"].keys() == sharded["weights"].keys()
    for name, weight in plain["weights"].items():
        assert torch.allclose(weight, sharded["weights"][name], rtol=0, atol=1e-6), name
    assert sharded["losses"]["step"] == list(range(1, STEPS + 1))
    for column, values in plain["losses"].items():
        # Parts validate at their ends too.
        logged = [step for step, value in enumerate(values) if not math.isnan(value)]
        found = [sharded["losses"][column][step] for step in logged]
        assert found == pytest.approx([values[step] for step in logged], rel=1e-5, abs=1e-6), column
    assert all(0.45 < share < 0.55 for share in shares)


def test_pictures_are_the_same(folder):
    plain, sharded = (
        {path.name: path.read_bytes() for path in (folder / kind / "dcr" / "images").glob("*")}
        for kind in ("plain", "sharded")
    )
    assert plain == sharded


def test_sharding_among_one_process_changes_nothing(world, tmp_path):
    plain, sharded = (
        train(world, tmp_path / s, alone(), 2, **{"processes.sharding": s})
        for s in ("none", "fsdp2")
    )
    assert [
        n for n, t in plain["weights"].items() if not torch.equal(t, sharded["weights"][n])
    ] == []


def test_plain_tensors_are_whole():
    tensor = torch.arange(3.0)
    assert full_tensor(tensor) is local_shard(tensor) is tensor
    assert shard_like(tensor, nn.Parameter(torch.zeros(3))) is tensor


def test_half_precision_with_a_loss_scale_is_refused():
    assert isinstance(
        parameters(**{"processes.sharding": "fsdp2"}, mixed_precision="bf16"), TrainingParameters
    )
    with pytest.raises(ValueError, match="must be none with mixed_precision fp16"):
        parameters(**{"processes.sharding": "fsdp2"}, mixed_precision="fp16")
