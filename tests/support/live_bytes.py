"""Memory of tensors as it is taken and given back, whatever an allocator keeps beside it."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Follows, while open, the bytes of tensors that came since and are still there.

    Attributes:
        now: bytes at the moment.
        peak: the most at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._live: dict[int, int] = {}
        self._older: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for storage in _storages((args, kwargs)):
            if storage._cdata not in self._live:
                self._older.add(storage._cdata)
        result = func(*args, **kwargs)
        for storage in _storages(result):
            place = storage._cdata
            if place not in self._live and place not in self._older:
                self._live[place] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._forget, place)
        return result

    def _forget(self, place: int) -> None:
        self.now -= self._live.pop(place, 0)


def _storages(values: Any) -> list[torch.UntypedStorage]:
    tensors = (value for value in tree_leaves(values) if isinstance(value, torch.Tensor))
    return [tensor.untyped_storage() for tensor in tensors]
