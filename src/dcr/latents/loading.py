"""Batches made ahead by processes that may die, in whatever shared memory there is.

torch's loader processes hand tensors over in shared memory. Where that is full (a container has 64
MB of it) they print a traceback, and the process that waits for the batch waits for ever. Here a
batch that finds no room goes through a pipe, which takes longer and always works; and what ends a
loader process becomes one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from dcr.errors import UserError


def load_ahead(
    load: Callable[[Any], Any],
    places: Iterable[Any],
    num_workers: int,
    section: str,
    pin_memory: bool = False,
    prepare_worker: Callable[[int], None] | None = None,
) -> Iterator[Any]:
    """Yield ``load(place)`` of each place, in order.

    Args:
        load: returns tensors, in dicts or named tuples, with whatever else can be pickled.
        places: to load.
        num_workers: processes that load ahead; 0 loads in this one.
        section: of the parameters that ``num_workers`` is one of.
        pin_memory: put tensors where a GPU can read them directly.
        prepare_worker: is called with its number in each process first.

    Raises:
        UserError: what ``load`` raised as such; or a process was killed, or none could be started.
    """
    try:
        loader = DataLoader(
            _Loading(load),
            batch_size=None,
            sampler=places,
            num_workers=num_workers,
            pin_memory=pin_memory,
            collate_fn=_leave,
            worker_init_fn=prepare_worker,
        )
        for batch in loader:
            if isinstance(batch, UserError):
                raise batch
            yield _map(batch, np.ndarray, torch.from_numpy)
    except (RuntimeError, OSError, MemoryError) as exc:
        if num_workers == 0 or (
            str(exc).startswith("Caught ") and not isinstance(exc, MemoryError)
        ):
            raise  # by ``load`` itself, in this process or another
        what = str(exc).strip().partition("\n")[0]
        raise UserError(
            f"{section}.num_workers {num_workers}: a loader process was ended or could not be"
            f" started ({what}); is there enough memory? Set {section}.num_workers lower, or to 0"
        ) from exc


class _Loading(Dataset[Any]):
    def __init__(self, load: Callable[[Any], Any]) -> None:
        self._load = load

    def __getitem__(self, place: Any) -> Any:
        try:
            batch = self._load(place)
        except UserError as exc:
            # As a value: torch would wrap its one sentence in a worker's traceback.
            return exc
        return batch if get_worker_info() is None else _map(batch, torch.Tensor, _share)


def _share(tensor: torch.Tensor) -> torch.Tensor | np.ndarray:
    try:
        shared: torch.Tensor = tensor.share_memory_()
        return shared
    except (RuntimeError, OSError):  # there is no room, or too many files are open
        return tensor.numpy()


def _map(batch: Any, kind: type[Any], function: Callable[[Any], Any]) -> Any:
    """Return a batch with a function applied to all values of a kind in it."""
    if isinstance(batch, kind):
        return function(batch)
    if isinstance(batch, dict):
        return {name: _map(value, kind, function) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_map(value, kind, function) for value in batch))
    return batch


def _leave(batch: Any) -> Any:
    return batch
