"""Training in fresh processes that may be cut, and what must be the same whether they were."""

import json
import random
import threading
from contextlib import contextmanager

import torch

from dcr.training.step import MicroStep
from training_world import fork_server, train_both_stages


def in_processes(count, world, folder, output, cut=None, train=train_both_stages, **changes):
    """Train in ``count`` fresh processes; return their exit codes."""
    context = fork_server()
    meeting = folder / f"meeting-{random.getrandbits(32)}"
    started = [
        context.Process(
            target=train,
            args=(
                world,
                folder / "checkpoints",
                output,
                cut,
                (rank, count, meeting) if count > 1 else None,
            ),
            kwargs=changes,
        )
        for rank in range(count)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return [process.exitcode for process in started]


def train_and_note(*args, notes, **kwargs):
    """Train as `train_both_stages`; append a line of run, step, rank and keys for each batch."""
    take_step = MicroStep.__call__

    def note(self, collated, number, rows_per_chunk):
        line = json.dumps([self.run.name, number, self.processes.rank, list(collated["keys"])])
        with notes.open("a") as file:  # short lines are appended whole, whoever else does so
            file.write(line + "\n")
        return take_step(self, collated, number, rows_per_chunk)

    MicroStep.__call__ = note
    train_both_stages(*args, **kwargs)


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@contextmanager
def once(folder, act):
    """While open, act as soon as there is a checkpoint in the folder."""
    ended = threading.Event()

    def watch():
        while not ended.wait(0.1):
            if any(folder.glob("checkpoint-*")):
                return act()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
