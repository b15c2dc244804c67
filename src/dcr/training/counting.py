"""What a call takes: activations and operations.

Activations are what autograd saves, counted once a storage. Operations are those of matrix
products, convolutions and attention (torch.utils.flop_counter), two for a multiplication and an
addition. Both are counted on tensors without memory (FakeTensorMode) as on others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Counted:
    """What autograd saves, and operations."""

    num_bytes: int
    num_flops: int

    def __sub__(self, other: Counted) -> Counted:
        return Counted(self.num_bytes - other.num_bytes, self.num_flops - other.num_flops)


class Operations(TorchDispatchMode):
    """Counts operations while open, by PyTorch's formulas.

    Attention on a CPU is counted by the formulas of a GPU.

    PyTorch's own FlopCounterMode follows modules besides, which takes most of its time and fails
    where no gradient is wanted of what could have one.

    Attributes:
        total: up to now.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = _formulas().get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=result)
        return result


@cache
def _formulas() -> dict[Any, Callable[..., int]]:
    """Return what counts an operation's operations from its inputs and its result."""
    aten = torch.ops.aten
    forward = aten._scaled_dot_product_flash_attention
    backward = aten._scaled_dot_product_flash_attention_backward
    return flop_registry | {
        aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[forward],
        aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[backward],
        aten._native_multi_head_attention: _whole_attention,
    }


def _whole_attention(query: torch.Tensor, *_: Any, out_val: Any, **__: Any) -> int:
    """Count attention with its four layers of one width in one call, as without gradient.

    Args:
        query: (B, T, w), key and value alike.
        out_val: not needed.
    """
    batch, tokens, width = query.shape
    return batch * tokens * (8 * width * width + 4 * tokens * width)


def count(
    modules: tuple[nn.Module, ...], function: Callable[[int], object], number: int
) -> Counted:
    """Count what ``function(number)`` takes, the weights of ``modules`` aside."""
    with SavedBytes(modules) as saved, Operations() as operations:
        function(number)
    return Counted(saved.num_bytes, operations.total)


class SavedBytes:
    """Counts the bytes that autograd saves while open; a storage counts once, weights do not.

    Args:
        modules: whose weights, buffers included, are left out.
    """

    def __init__(self, modules: tuple[nn.Module, ...]) -> None:
        self._weights = {
            tensor.untyped_storage()._cdata
            for module in modules
            for tensor in (*module.parameters(), *module.buffers())
        }

    def __enter__(self) -> SavedBytes:
        self._storages: dict[int, int] = {}
        self._held: list[torch.Tensor] = []
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._hooks.__exit__(*exc)
        self.num_bytes = sum(self._storages.values())
        self._held.clear()

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            self._storages[storage._cdata] = storage.nbytes()
            self._held.append(tensor.detach())  # so that no address is used twice
        return tensor
