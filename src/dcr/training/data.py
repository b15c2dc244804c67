"""Which samples a step sees: each process's share of the order of all, see `Order`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from dcr.errors import UserError
from dcr.latents import LatentCache, OnlineLatents
from dcr.latents.loading import load_ahead
from dcr.seeds import derive_seed
from dcr.training.distributed.processes import Processes
from dcr.training.mixture import Order, Source
from dcr.training.samples import Collated, Samples
from dcr.training.stopping import ignore_requests


def split_positions(
    latents: LatentCache | OnlineLatents, validation_fraction: float
) -> tuple[list[int], list[int]]:
    """Return the positions to train on and those held out.

    A sample's side depends on its key alone, so it never changes with order, shard layout or other
    samples.

    Args:
        latents: all samples.
        validation_fraction: chance of a sample to be held out, between 0 and 1.
    """
    held_out = [
        derive_seed(0, "validation", latents.key(i)) / 2**63 < validation_fraction
        for i in range(len(latents))
    ]
    return [i for i, out in enumerate(held_out) if not out], [
        i for i, out in enumerate(held_out) if out
    ]


def split_sources(latents: LatentCache | OnlineLatents, positions: list[int]) -> list[Source]:
    """Return the sources of samples, by name.

    Args:
        latents: all samples, with their sources.
        positions: of those to train on, in order.

    Raises:
        UserError: a source has none of them.
    """
    found: dict[str, list[int]] = {name: [] for name in latents.weights}
    for position in positions:
        found[latents.source(position)].append(position)
    for name, own in found.items():
        if not own:
            raise UserError(
                f"source {name} of {latents.folder} has no sample to train on, but a weight:"
                " leave it out of `sources`, or bring more of its data"
            )
    return [Source(own, name, latents.weights[name]) for name, own in found.items()]


def in_turn(latents: LatentCache | OnlineLatents, positions: list[int]) -> list[int]:
    """Return the positions so that the sources take turns; of one source they stay as they are.

    Args:
        latents: all samples, with their sources.
        positions: of some of them.
    """
    turns: Counter[str] = Counter()
    places = []
    for position in positions:
        name = latents.source(position)
        places.append((turns[name], name, position))
        turns[name] += 1
    return [position for *_, position in sorted(places)]


class StepSampler:
    """A sampler of batches: yields (position, epoch) of each sample of each step in ``steps``.

    Batches follow each other through the order of `Order`; a batch may span two epochs, so every
    sample of a source is seen equally often. Of ``num_processes`` with ``batch_size`` each, every
    one takes its own piece of the same order.

    Args:
        sources: to draw from.
        batch_size: samples of one process in one step.
        seed: of the order.
        steps: numbers of the micro-steps, from 0.
        rank: of this process.
        num_processes: that share the order.
        first_place: place in the order at which ``steps`` begin; by default that of an unbroken
            run. A run that goes on with another number of processes has seen another number of
            samples.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        batch_size: int,
        seed: int,
        steps: range,
        rank: int = 0,
        num_processes: int = 1,
        first_place: int | None = None,
    ) -> None:
        self.sources = sources
        self.batch_size = batch_size
        self.seed = seed
        self.steps = steps
        self.rank = rank
        self.num_processes = num_processes
        self.first_place = (
            steps.start * batch_size * num_processes if first_place is None else first_place
        )

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = Order(self.sources, self.seed)
        for number in range(len(self.steps)):
            first = self.first_place + (number * self.num_processes + self.rank) * self.batch_size
            yield [order[place] for place in range(first, first + self.batch_size)]


def collate(samples: list[dict[str, Any]]) -> Collated:
    """Stack ``samples`` of a cache by name: crops, keys and moments.

    ``crops`` are uint8 (B, H, W, 3), ``moments`` float32 (B, 2C, h, w), ``keys`` a list.

    Samples without a cache have ``encoding`` in place of moments, which `dcr.training.batches` then
    computes. Samples with a made positive add ``candidates``, uint8 (B, H, W, 3), and those
    whose crops the tower has encoded before ``features``, float32 (B, d).
    """
    collated = {
        "keys": [sample["key"] for sample in samples],
        "crops": torch.from_numpy(np.stack([sample["crop"] for sample in samples])),
    }
    if "candidate" in samples[0]:
        collated["candidates"] = torch.from_numpy(
            np.stack([sample["candidate"] for sample in samples])
        )
    if "features" in samples[0]:
        collated["features"] = torch.from_numpy(
            np.stack([sample["features"] for sample in samples])
        )
    if "encoding" in samples[0]:
        return {**collated, "encoding": samples[0]["encoding"]}
    return {
        **collated,
        "moments": torch.from_numpy(np.stack([sample["moments"] for sample in samples])),
    }


def iterate_batches(
    latents: Samples,
    sources: Sequence[Source],
    batch_size: int,
    seed: int,
    steps: range,
    num_workers: int,
    processes: Processes,
    first_place: int,
) -> Iterator[Collated]:
    """Yield the batches of the steps, in order, as `collate` stacks them.

    Args:
        latents: where the samples are read.
        sources, batch_size, seed, steps, first_place: see `StepSampler`.
        num_workers: processes that read ahead, whose number changes nothing else; 0 reads in this
            one.
        processes: that train together.
    """
    sampler = StepSampler(
        sources, batch_size, seed, steps, processes.rank, processes.count, first_place
    )
    return load_ahead(
        partial(_load_batch, latents),
        sampler,
        num_workers,
        "training.execution",
        prepare_worker=ignore_requests,
    )


def _load_batch(latents: Samples, places: list[tuple[int, int]]) -> Collated:
    collated = collate([latents[place] for place in places])
    if len(latents.weights) > 1:
        names = list(latents.weights)
        numbers = [names.index(latents.source(position)) for position, _ in places]
        collated |= {"source_names": names, "sources": torch.tensor(numbers)}
    return collated
