"""What PyTorch's own functions do while a device is pretended: those that name a device, or ask C++
for a tensor's.

See `pretended_device`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from pretended_device import DEVICE, DeviceError, Pretended, current, plain_of

_FACTORIES = (
    "arange",
    "as_tensor",
    "empty",
    "empty_strided",
    "eye",
    "full",
    "linspace",
    "ones",
    "rand",
    "randint",
    "randn",
    "randperm",
    "scalar_tensor",
    "tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
)
_LIKE = (
    "empty_like",
    "full_like",
    "ones_like",
    "rand_like",
    "randint_like",
    "randn_like",
    "zeros_like",
)
_NEW = ("new_empty", "new_full", "new_ones", "new_tensor", "new_zeros")
# Made on the CPU and copied, which CUDA waits for.
_FROM_LISTS = ("as_tensor", "tensor", "new_tensor")


class _Event:
    """As ``torch.cuda.Event``: what its stream had started before it was recorded is done once
    it was waited for.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []

    def record(self, stream: Any = None) -> None:
        here = current().is_current if stream is None else stream == DEVICE
        self._copies = current().under_way() if here else []

    def synchronize(self) -> None:
        current().wait("event")
        current().finish(self._copies)


def replacements() -> Iterator[tuple[Any, str, Callable]]:
    """Yield what PyTorch must not do itself while a device is pretended: (owner, name, what
    stands there).
    """
    # PyTorch remembers the functions that it finds at the first call
    torch.utils._device._device_constructors()
    for name in _FACTORIES:
        yield torch, name, _factory(getattr(torch, name), name)
    for name in _LIKE:
        yield torch, name, _like(getattr(torch, name))
    for name in _NEW:
        yield torch.Tensor, name, _new(getattr(torch.Tensor, name), name)
    yield torch.Tensor, "to", _to
    yield torch.Tensor, "cpu", lambda self, *args, **kwargs: _to(self, "cpu")
    yield torch.Tensor, "cuda", lambda self, *args, **kwargs: _to(self, DEVICE, **kwargs)
    yield torch.nn.Module, "to", _module_to
    yield torch, "autocast", _autocast(torch.autocast)
    yield torch.cuda, "Event", _Event
    yield torch.cuda, "current_stream", torch.device  # a device has one stream here
    yield (
        torch._C,
        "_group_tensors_by_device_and_dtype",
        _grouping(torch._C._group_tensors_by_device_and_dtype),
    )


def _take_device(kwargs: dict[str, Any]) -> bool | None:
    """Take a factory's device out of its arguments if it is pretended; return whether it is,
    None if none is named.
    """
    device = kwargs.get("device")
    if device is not None and torch.device(device).type == "cuda":
        del kwargs["device"]
        return True
    return None if device is None else False


def _factory(original: Callable, name: str) -> Callable:
    def make(*args: Any, **kwargs: Any) -> Any:
        on_device = _take_device(kwargs)
        if name == "as_tensor" and isinstance(args[0], torch.Tensor):
            return args[0].to(
                device=DEVICE if on_device else "cpu" if on_device is False else None, **kwargs
            )
        generator = kwargs.get("generator")
        if on_device and generator is not None and generator.device.type == "cpu":
            raise DeviceError(f"torch.{name}: expected a generator of {DEVICE}, got one of the CPU")
        if on_device and name in _FROM_LISTS:
            current().wait(f"torch.{name}")
        with current().results(bool(on_device)):
            return original(*args, **kwargs)

    return make


def _like(original: Callable) -> Callable:
    def make(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        asked = _take_device(kwargs)
        with current().results(isinstance(tensor, Pretended) if asked is None else asked):
            return original(plain_of(tensor), *args, **kwargs)

    return make


def _new(original: Callable, name: str) -> Callable:
    def make(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        asked = _take_device(kwargs)
        on_device = isinstance(self, Pretended) if asked is None else asked
        if on_device and name in _FROM_LISTS:
            current().wait(name)
        with current().results(on_device):
            return original(plain_of(self), *args, **kwargs)

    return make


def _to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    copy = kwargs.pop("copy", False)
    other = kwargs.pop("other", None)
    if args and isinstance(args[0], torch.Tensor):
        other, *args = args
    if other is not None:
        args = (other.device, other.dtype, *args)
    device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
    is_here = isinstance(self, Pretended)
    on_device = is_here if device is None else device.type == "cuda"
    if on_device == is_here:
        options = {} if memory_format is None else {"memory_format": memory_format}
        return _ORIGINAL_TO(self, dtype=dtype or self.dtype, copy=copy, **options)
    options = {"memory_format": memory_format or torch.preserve_format}
    if not non_blocking:
        current().wait("copy to the device" if on_device else "copy to the host")
    with current().results(on_device), torch._C.DisableTorchFunctionSubclass():
        result = torch.ops.aten._to_copy(self, dtype=dtype, **options)
    if non_blocking and not on_device:
        current().copied_to_host(result.detach(), result.detach())
    return result


_ORIGINAL_TO = torch.Tensor.to


def _module_to(self: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
    """Move a module as ``Module.to`` does: its parameters stay the same objects."""
    device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)

    def move(tensor: torch.Tensor) -> torch.Tensor:
        layout = memory_format if memory_format is not None and tensor.ndim in (4, 5) else None
        kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        return tensor.to(
            device, kind, non_blocking, **({} if layout is None else {"memory_format": layout})
        )

    for module in self.modules():
        for parameter in module._parameters.values():
            if parameter is None:
                continue
            with torch.no_grad():
                moved = move(parameter)
            if moved is not parameter:
                torch.utils.swap_tensors(
                    parameter, torch.nn.Parameter(moved, parameter.requires_grad)
                )
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else move(buffer)
    return self


def _grouping(original: Callable) -> Callable:
    """Group tensors as optimizers and clipping do, which ask C++ for their device."""

    def group(lists: Any, *args: Any) -> dict:
        is_here = any(isinstance(t, Pretended) for t in tree_flatten(lists)[0])
        return {
            (DEVICE if is_here else device, dtype): of
            for (device, dtype), of in original(lists, *args).items()
        }

    return group


def _autocast(original: type) -> Callable:
    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return original("cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    return autocast
