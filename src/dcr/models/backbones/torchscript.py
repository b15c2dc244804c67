"""Weights out of a TorchScript archive, as OpenAI published CLIP, without running any of its code.

Neither PyTorch nor open_clip has a safe way in: ``torch.jit.load``, which open_clip calls, compiles
the archive's program and runs its ``__setstate__``, and ``torch.load(weights_only=True)`` refuses
the archive, with its program or without, since no list of allowed classes can hold those that only
the program defines. Here only its table of attributes is read, by an unpickler that knows tensors
and nothing else.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")
_MAX_CODE = 16 << 20  # bytes of an archive's program; OpenAI's have less than one MiB
_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


class _Module:
    """An attribute table: what a scripted module's class becomes here."""


class _Unpickler(pickle.Unpickler):
    """Knows tensors, their storages and attribute tables; any other name is an error."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive = archive
        self._root = root

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for ``name`` of ``module``.

        Raises:
            pickle.UnpicklingError: it is neither tensor nor module.
        """
        if module.split(".")[0] == "__torch__":
            return type(name, (_Module,), {})
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return list
        raise pickle.UnpicklingError(
            f"the archive names {module}.{name}, which is neither a tensor nor a module"
        )

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """Return the storage, a flat tensor, of ``pid`` (kind, dtype, key, device, count)."""
        _, dtype, key, _, count = pid
        if not str(key).isalnum():
            raise pickle.UnpicklingError(f"the archive has no storage {key!r}")
        data = bytearray(self._archive.read(f"{self._root}/data/{key}"))
        return (
            torch.frombuffer(data, dtype=dtype, count=count)
            if count
            else torch.empty(0, dtype=dtype)
        )


def is_torchscript(path: str | Path) -> bool:
    """Tell whether the file ``path`` is a TorchScript archive: code lies beside its tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[1:2] == ["code"] for name in archive.namelist())


def activation_of(path: str | Path) -> bool | None:
    """Return whether the program in ``path`` computes quick_gelu, None if it cannot be told.

    OpenAI's do; False means gelu. The program is read as text: quick_gelu is ``x * sigmoid(1.702
    x)``, and nothing else in a CLIP takes a sigmoid.
    """
    with zipfile.ZipFile(path) as archive:
        members = [
            member for member in archive.infolist() if member.filename.split("/")[1:2] == ["code"]
        ]
        if sum(member.file_size for member in members) > _MAX_CODE:
            return None
        program = b"".join(archive.read(member) for member in members)
    shown = {name for name in (b"torch.sigmoid(", b"torch.gelu(") if name in program}
    return shown == {b"torch.sigmoid("} if len(shown) == 1 else None


def read_torchscript(path: str | Path) -> dict[str, torch.Tensor]:
    """Return the tensors of archive ``path`` by dotted module name, on the CPU, in stored types.

    Raises:
        pickle.UnpicklingError: the archive names anything but tensors and modules.
        KeyError: it lacks a member that it refers to.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix(
            "/data.pkl"
        )
        model = _Unpickler(archive, root).load()
    return {
        name: tensor
        for name, tensor in _tensors(model)
        if name.rpartition(".")[2] not in _NOT_WEIGHTS
    }


def _rebuild(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> torch.Tensor:
    return storage.as_strided(size, stride, offset).clone()


def _tensors(module: _Module, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            yield prefix + name, value
        elif isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.")
