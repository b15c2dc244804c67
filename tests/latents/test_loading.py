"""Batches come in order, whatever the processes and their shared memory; what ends a process is
told, and soon.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from dcr.errors import UserError
from dcr.latents import loading
from dcr.latents.loading import load_ahead


class Batch(NamedTuple):
    crops: torch.Tensor
    keys: list[str]


def load(place: int) -> dict:
    if place == 3:
        raise UserError("sample 3 changed")
    if place == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    if place == 5:
        raise MemoryError
    if place == 6:
        raise RuntimeError("a mistake of ours")
    return {
        "batch": Batch(torch.full((1000,), place, dtype=torch.uint8), [f"{place}"]),
        "place": place,
    }


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_batches_come_in_order_and_whole(num_workers):
    found = list(load_ahead(load, [2, 0, 1, 2], num_workers, "latents"))
    assert [batch["place"] for batch in found] == [2, 0, 1, 2]
    assert all(type(batch["batch"]) is Batch for batch in found)
    assert [batch["batch"].crops.unique().tolist() for batch in found] == [[2], [0], [1], [2]]
    assert [batch["batch"].keys for batch in found] == [["2"], ["0"], ["1"], ["2"]]


def test_without_room_in_shared_memory_batches_go_through_pipes(monkeypatch):
    def no_room(self):
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", no_room)
    found = list(load_ahead(load, [2, 0, 1], 2, "latents"))
    assert [batch["batch"].crops.unique().tolist() for batch in found] == [[2], [0], [1]]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_users_mistake_stays_one_sentence(num_workers):
    with pytest.raises(UserError) as caught:
        list(load_ahead(load, [0, 3], num_workers, "latents"))
    assert str(caught.value) == "sample 3 changed"


@pytest.mark.parametrize("place", [4, 5])
def test_a_process_that_is_killed_or_finds_no_memory_is_told_within_seconds(place):
    start = time.monotonic()
    with pytest.raises(
        UserError, match=r"training\.num_workers 2: a loader process was ended .*lower, or to 0"
    ):
        list(load_ahead(load, [0, 1, place, 2], 2, "training"))
    assert time.monotonic() - start < 30


def test_a_process_that_cannot_be_started_is_told(monkeypatch):
    def no_memory(*_):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", no_memory)
    with pytest.raises(UserError, match=r"latents\.num_workers 1: .*Cannot allocate memory"):
        list(load_ahead(load, [0], 1, "latents"))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_mistakes_of_ours_are_not_dressed_up(num_workers):
    with pytest.raises(RuntimeError, match="a mistake of ours") as caught:
        list(load_ahead(load, [6], num_workers, "latents"))
    assert not isinstance(caught.value, UserError)


@pytest.mark.slow
def test_a_container_with_hardly_any_shared_memory_is_enough():
    """With a real file system of 64 KiB, where the system lets a test mount one."""
    code = (
        "import torch; from dcr.latents.loading import load_ahead\n"
        "load = lambda place: {'crops': torch.full((300_000,), place, dtype=torch.uint8)}\n"
        "print([int(b['crops'][-1]) for b in load_ahead(load, range(8), 2, 'latents')])"
    )
    mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm || exit 77; exec"
    command = ["unshare", "-m", "sh", "-c", f'{mount} "$@"', "sh", sys.executable, "-c", code]
    source = Path(loading.__file__).parents[2]
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, "PYTHONPATH": str(source)},
        )
    except FileNotFoundError:
        pytest.skip("there is no program unshare")
    if result.returncode in (1, 77) and "DataLoader" not in result.stderr and not result.stdout:
        pytest.skip(f"no file system can be mounted: {result.stderr[-200:]}")
    assert result.stdout.strip() == str(list(range(8))), result.stderr
