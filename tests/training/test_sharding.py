"""FSDP2: two processes that share the tower's weights train as two that each have all of them."""

import pytest
import torch
from torch import multiprocessing
from torch.distributed.tensor import DTensor

from dcr.parameters import TrainingParameters
from dcr.training import jobs, trainer
from dcr.training.processes import Processes, alone
from dcr.training.sharding import own_part, part_like, whole
from training_world import fixed_projector, fork_server, open_job, parameters, write_world

STEPS = 3
CASES = {
    "lora": {"diagnostics_every_steps": 2, "images_every_steps": 2, "num_images": 2, "num_denoising_steps": 2},
    "full": {"tuning": "full", "gradient_checkpointing": "all", "base_embedding_weight": 0.1},
    "last blocks, naive": {
        **{"tuning": "last_blocks", "num_tuned_blocks": 1, "gradient_accumulation_steps": 2},
        **{"method": "naive", "gather_negatives": True},
    },
    "end to end": {"method": "end_to_end", "condition": "patch_tokens", "mixed_precision": "bf16"},
}


def train(world, folder, processes, steps=STEPS, **changes):
    """Train stage 2; return weights and log."""
    sizes = {"stage2_max_train_steps": steps, "end_to_end_max_train_steps": steps, "stage2_train_batch_size": 3}
    # The bias of attention keys has no gradient but rounding, which AdamW with a small epsilon makes a step of.
    job = open_job(world, folder, adam_epsilon=1e-3, **sizes | changes)
    job.processes = processes
    trained = jobs.train_adapters(job, fixed_projector(world))
    (name,) = trained.runs
    weights = {**trained.towers[name], **{f"projector.{key}": t for key, t in trained.projector.items()}}
    return {"weights": weights, "losses": trained.runs[name].losses.to_dict("list")}


def train_all(rank, count, world, folder):
    """Train every case plainly and sharded, and two that change on the way; leave what came out."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    processes, shares, found = Processes(rank, count, torch.device("cpu")), [], {}
    shard = trainer.shard

    def shard_and_note(model, processes):
        whole_size = sum(p.numel() for p in model.parameters())
        shard(model, processes)
        assert all(isinstance(p, DTensor) for p in model.parameters())
        shares.append(sum(own_part(p).numel() for p in model.parameters()) / whole_size)

    trainer.shard = shard_and_note
    for case, changes in CASES.items():
        for sharding in ("none", "fsdp2"):
            found[case, sharding] = train(world, folder / f"{case} {sharding}", processes, sharding=sharding, **changes)
    for first, then in (("none", "fsdp2"), ("fsdp2", "none")):
        for steps, sharding in ((2, first), (STEPS, then)):
            found[first, then] = train(world, folder / f"{first} {then}", processes, steps, sharding=sharding)
    torch.save((found, shares), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharding")
    fork_server()
    multiprocessing.start_processes(train_all, (2, world, folder), nprocs=2, start_method="forkserver")
    return folder


@pytest.fixture(scope="module", params=[0, 1])
def found(request, folder):
    """What a rank's trainings left."""
    return torch.load(folder / f"{request.param}.pt", weights_only=True)[0]


def assert_alike(one, other):
    assert one["weights"].keys() == other["weights"].keys()
    for name, weight in one["weights"].items():
        assert torch.allclose(weight, other["weights"][name], rtol=0, atol=1e-6), name
    for column in ("loss", "grad_norm"):
        assert one["losses"][column] == pytest.approx(other["losses"][column], rel=1e-6), column


@pytest.mark.parametrize("case", CASES)
def test_sharded_training_is_plain_training(found, case):
    assert_alike(found[case, "fsdp2"], found[case, "none"])


def test_what_is_shown_of_a_sharded_run_is_that_of_a_plain_one(found, folder):
    plain, sharded = (found["lora", sharding]["losses"] for sharding in ("none", "fsdp2"))
    assert {"conflict_cosine", "similarity_view"} < plain.keys()
    for column in sorted(plain):
        assert sharded[column] == pytest.approx(plain[column], rel=1e-4, nan_ok=True), column
    pictures = [(folder / f"lora {s}/dcr/images/step-000002.png").read_bytes() for s in ("none", "fsdp2")]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("change", [("none", "fsdp2"), ("fsdp2", "none")])
def test_a_run_goes_on_sharded_or_not(found, change):
    assert found[change]["losses"]["step"] == [1, 2, 3]
    assert_alike(found[change], found["lora", "none"])


def test_every_process_has_about_half_of_the_weights(folder):
    for rank in range(2):
        shares = torch.load(folder / f"{rank}.pt", weights_only=True)[1]
        assert len(shares) == len(CASES) + 2
        assert all(0.45 < share < 0.55 for share in shares)


def test_sharding_among_one_process_changes_nothing(world, tmp_path):
    plain, sharded = (train(world, tmp_path / s, alone(), sharding=s) for s in ("none", "fsdp2"))
    assert [n for n, t in plain["weights"].items() if not torch.equal(t, sharded["weights"][n])] == []


def test_plain_tensors_are_whole():
    tensor = torch.arange(3.0)
    assert whole(tensor) is own_part(tensor) is tensor
    assert part_like(tensor, torch.nn.Parameter(torch.zeros(3))) is tensor


def test_half_precision_with_a_loss_scale_is_refused():
    assert isinstance(parameters(sharding="fsdp2", mixed_precision="bf16"), TrainingParameters)
    with pytest.raises(ValueError, match="must be none with mixed_precision fp16"):
        parameters(sharding="fsdp2", mixed_precision="fp16")
