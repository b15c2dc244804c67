"""A job looks at what it reads before it trains on it."""

import shutil

import pytest
import torch

from dcr.errors import UserError
from dcr.training import jobs
from dcr.training.distributed.processes import Processes, alone
from training_world import open_job, write_world


@pytest.fixture
def world(tmp_path):
    return write_world(tmp_path / "world")


def spoil(shard):
    data = bytearray(shard.read_bytes())
    data[6000] ^= 1
    shard.write_bytes(data)


def test_training_does_not_begin_on_damaged_latents(world, tmp_path):
    spoil(world / "latents" / "00000.tar")
    with pytest.raises(
        UserError, match=r"latents/00000\.tar: its bytes are not those .*--pipelines verify"
    ):
        jobs.train_projector(open_job(world, tmp_path / "checkpoints"))
    assert not (tmp_path / "checkpoints" / "stage1").exists()


def test_both_stages_read_a_shard_for_its_hash_once(world, tmp_path, monkeypatch):
    from dcr.latents import cache

    read, check = [], cache.check_bytes
    monkeypatch.setattr(
        cache, "check_bytes", lambda path, record: (read.append(path.stem), check(path, record))
    )
    small = {"stage1.max_train_steps": 1, "stage2.max_train_steps": 1, "execution.num_workers": 1}
    projector, _, _ = jobs.train_projector(open_job(world, tmp_path / "checkpoints", **small))
    jobs.train_adapters(open_job(world, tmp_path / "checkpoints", **small), projector)
    assert read == ["00000"]


def test_the_processes_of_a_host_share_its_shards(monkeypatch):
    assert alone().on_host == (0, 1)
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert Processes(7, 8, torch.device("cpu")).on_host == (3, 4)


def test_every_shard_is_checked_by_one_process_of_a_host(world, tmp_path, monkeypatch):
    """Here the one shard falls to the first; the second has none, and would not notice the
    damage.
    """
    spoil(world / "latents" / "00000.tar")
    monkeypatch.setattr(Processes, "barrier", lambda self: None)
    found = []
    for rank in range(2):
        job = open_job(
            shutil.copytree(world, tmp_path / f"of rank {rank}"), tmp_path / "checkpoints"
        )
        job.processes = Processes(rank, 2, torch.device("cpu"))
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        try:
            job.check_bytes()
        except UserError:
            found.append(rank)
    assert found == [0]
