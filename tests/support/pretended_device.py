"""A GPU that is pretended: tensors in the CPU's memory that say they lie on ``cuda:0``, and the
rules that hold there.

Inside `PretendedDevice` whatever is moved to ``cuda`` becomes a `Pretended` tensor. Its kernels are
the CPU's, so results must equal the CPU's bit for bit; its rules are a GPU's:

- an operation on tensors of both devices is refused, but for what CUDA allows: copies, an index
  from the CPU, and numbers (tensors without dimensions) in pointwise operations;
- so is a draw on the device from a generator of the CPU;
- a copy to the CPU that does not block holds rubbish until an event that was recorded after it has
  been waited for;
- every wait of the host for the device is counted, by line of the source.

It cannot see kernels, streams, memory, several devices, nor autocast's own list for CUDA.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("cuda", 0)
PROJECT = Path(__file__).parents[2]

_WAITS = {
    "_local_scalar_dense": "item",
    "nonzero": "nonzero",
    "masked_select": "masked_select",
    "equal": "equal",
    "_linalg_check_errors": "linalg's check",
    "_unique2": "unique",
    "unique_dim": "unique",
    "unique_consecutive": "unique",
    "bincount": "bincount",
}
_INDEXING = (
    "index",
    "index_put",
    "index_put_",
    "_index_put_impl_",
    "_unsafe_index",
    "_unsafe_index_put",
)
# Beside pointwise operations.
_TAKES_NUMBERS = ("fill", "fill_", "masked_fill", "masked_fill_", "where")


class DeviceError(RuntimeError):
    """What a GPU would have refused."""


class Pretended(torch.Tensor):
    """A tensor that says it lies on ``cuda:0``; ``plain`` is the same memory without the
    pretence.
    """

    plain: torch.Tensor

    @staticmethod
    def of(plain: torch.Tensor) -> Pretended:
        """Return the pretended form of a tensor of the CPU."""
        tensor = torch.Tensor._make_subclass(Pretended, plain)
        tensor.plain = plain
        return tensor

    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    data = property(
        lambda self: self.detach(),
        lambda self, value: _set_data(self, value),
    )

    def __repr__(self, **kwargs: Any) -> str:
        return f"Pretended({self.plain})"

    def get_device(self) -> int:
        return 0

    def tolist(self) -> Any:
        current().wait("tolist")
        return self.plain.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise DeviceError(f"a tensor of {DEVICE} has no numpy form: copy it to the CPU first")

    def __array__(self, *args: Any) -> Any:
        return self.numpy()

    def __deepcopy__(self, memo: dict) -> Pretended:
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            copied._is_param = True
        memo[id(self)] = copied
        return copied

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        with current().on_device(), torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs or {})

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        raise DeviceError(f"{func} on a pretended tensor where no device is pretended")


class PretendedDevice(TorchDispatchMode):
    """While open, ``cuda`` is a device of this process.

    Attributes:
        waits: of the host for the device, ``<file>:<line> <what>`` to their number.
        is_current: whether it is the one that PyTorch takes where no device is named, for which
            events are recorded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.is_current = True
        self._calls = 0  # Python's calls with a pretended tensor that are going on
        self._home: bool | None = None  # where results go, if a factory or a move says so
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._patches = ExitStack()

    @property
    def num_waits(self) -> int:
        """Number of waits up to now."""
        return self.waits.total()

    def wait(self, what: str) -> None:
        """Count a wait of the line of this project that asks for it."""
        frame = sys._getframe(1)
        while frame and not _is_ours(frame.f_code.co_filename):
            frame = frame.f_back
        place = (
            f"{Path(frame.f_code.co_filename).relative_to(PROJECT)}:{frame.f_lineno}"
            if frame
            else "?"
        )
        self.waits[f"{place} {what}"] += 1

    @contextmanager
    def on_device(self) -> Iterator[None]:
        """Let what C++ makes without saying where lie on the device."""
        self._calls += 1
        home, self._home = self._home, None
        try:
            yield
        finally:
            self._calls -= 1
            self._home = home

    @contextmanager
    def results(self, on_device: bool) -> Iterator[None]:
        """Let results lie where a factory or a move says."""
        home, self._home = self._home, on_device
        try:
            yield
        finally:
            self._home = home

    def copied_to_host(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Hide a copy that did not block until it has been waited for."""
        self._copies.append((target, source.clone()))
        target.fill_(torch.nan if target.is_floating_point() else -1)

    def finish(self, copies: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Let copies that were waited for arrive."""
        for target, source in copies:
            target.copy_(source)
        self._copies = [copy for copy in self._copies if not any(copy is done for done in copies)]

    def under_way(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the copies that were started and not waited for."""
        return list(self._copies)

    def __enter__(self) -> PretendedDevice:
        from pretended_functions import replacements

        global _DEVICE
        assert _DEVICE is None, "one device is pretended already"
        _DEVICE = self
        for owner, name, replacement in replacements():
            self._patches.enter_context(mock.patch.object(owner, name, replacement))
        super().__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        global _DEVICE
        super().__exit__(*exc)
        self._patches.close()
        _DEVICE = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = list(_tensors((*args, *kwargs.values())))
        here = [t for t in tensors if isinstance(t, Pretended)]
        name = func.overloadpacket.__name__
        if self._home is None and here:
            self._check(func, name, args, kwargs, tensors)
        to_device = (
            self._home
            if self._home is not None
            else bool(here) or (not tensors and self._calls > 0)
        )
        if name == "copy_" and here and not isinstance(args[0], Pretended):
            to_device = False
        known = {id(t.plain): t for t in here}
        result = func(
            *_map(plain_of, args), **{key: _map(plain_of, value) for key, value in kwargs.items()}
        )
        return _map(
            lambda t: known[id(t)] if id(t) in known else Pretended.of(t) if to_device else t,
            result,
        )

    def _check(
        self, func: Any, name: str, args: tuple, kwargs: dict, tensors: list[torch.Tensor]
    ) -> None:
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type == "cpu":
            raise DeviceError(f"{func}: expected a generator of {DEVICE}, got one of the CPU")
        elsewhere = [t for t in tensors if not isinstance(t, Pretended)]
        if name in _WAITS:
            self.wait(_WAITS[name])
        if name == "repeat_interleave" and kwargs.get("output_size") is None:
            self.wait("repeat_interleave")
        if name in _INDEXING and isinstance(args[0], Pretended):
            indices = [t for t in args[1] if t is not None]
            if any(t.dtype == torch.bool for t in indices):
                self.wait("index by a mask")
            if any(not isinstance(t, Pretended) for t in indices):
                self.wait("index of the CPU")
            elsewhere = [t for t in elsewhere if not any(t is index for index in indices)]
        if name == "copy_" and elsewhere:
            if not (len(args) > 2 and args[2]) and not kwargs.get("non_blocking"):
                self.wait("copy")
            return
        if torch.Tag.pointwise in func.tags or name in (*_TAKES_NUMBERS, *_INDEXING):
            elsewhere = [t for t in elsewhere if t.ndim or (t is args[0] and name.endswith("_"))]
        if elsewhere:
            raise DeviceError(f"{func}: expected all tensors on one device, got {DEVICE} and cpu")


_DEVICE: PretendedDevice | None = None


def current() -> PretendedDevice:
    """Return the device that is pretended."""
    if _DEVICE is None:
        raise DeviceError("a pretended tensor where no device is pretended")
    return _DEVICE


def _tensors(values: tuple | list) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


def _map(function: Callable[[torch.Tensor], Any], value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple | list):
        return type(value)(_map(function, item) for item in value)
    return value


def _is_ours(file: str) -> bool:
    folders = str(PROJECT / "src"), str(PROJECT / "tests")
    return file.startswith(folders) and not Path(file).name.startswith("pretended_")


def plain_of(value: Any) -> Any:
    """Return a pretended tensor's memory, anything else as it is."""
    return value.plain if isinstance(value, Pretended) else value


def _set_data(tensor: Pretended, value: Pretended) -> None:
    torch.Tensor.data.__set__(tensor, value)
    tensor.plain = value.plain
