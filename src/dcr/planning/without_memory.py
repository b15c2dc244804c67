"""Tensors that have shapes and nothing else, for models of any size on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from dcr.devices import constant


@contextmanager
def without_memory() -> Iterator[None]:
    """Make all tensors fake, and the numbers that are read of them 0, which is false."""
    with ExitStack() as stack:
        for kind in (torch.Tensor, FakeTensor):
            stack.enter_context(_replaced(kind, "item", lambda tensor: 0.0))
            stack.enter_context(_replaced(kind, "tolist", lambda tensor: [0.0] * tensor.numel()))
        # such as how SigLIP's first weights are drawn: until none is too large
        stack.enter_context(_replaced(FakeTensor, "__bool__", lambda tensor: False))
        # how modules are cast: PyTorch's own way fails where anything else knows of a weight
        stack.enter_context(_replaced(torch.utils, "swap_tensors", _set_data))
        stack.enter_context(FakeTensorMode())
        constant.cache_clear()  # what was made before has memory, and what is made here has none
        stack.callback(constant.cache_clear)
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put ``value`` in the place of an attribute of ``owner``, its own or inherited."""
    own = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def _set_data(old: torch.Tensor, new: torch.Tensor) -> None:
    old.data = new
