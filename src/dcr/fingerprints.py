"""What a result depends on, as hashes: data, weights, parameters that change it, and code.

A kept result is found again by a `fingerprint` of all four. The code is never listed by hand: it is
the module that makes the result, all that this module imports, and the versions of the libraries
among it that compute.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.source_graph import Sources

if TYPE_CHECKING:
    import torch

SOURCES = Sources(Path(__file__).parent)
"""The sources that this process runs."""

LIBRARIES = {
    "PIL": "pillow",
    "diffusers": "diffusers",
    "ftfy": "ftfy",
    "numpy": "numpy",
    "open_clip": "open_clip_torch",
    "peft": "peft",
    "py3langid": "py3langid",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "timm": "timm",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "webdataset": "webdataset",
}
"""The libraries that decide about values, from the name that is imported to the one that is
installed.
"""

_ORIGIN = ("transformers_version", "architectures", "dtype", "torch_dtype")


def fingerprint(**parts: Any) -> str:
    """Return the hex sha256 of named values: of all that a result depends on."""
    return json_hash(parts)


@cache
def code_hash(*makers: str | type) -> str:
    """Return the hex sha256 of the code that makes a result, and of its computing libraries.

    It is taken once a process, so that what a process makes is known by the code that it started
    with. A library's build for one device or another is no part of it.

    Args:
        makers: the modules that make the result, or classes of objects that take part in it: of a
            class, those of its bases count too, and none that lies outside of the project.
    """
    modules = {module for maker in makers for module in _modules(maker)}
    libraries = sorted(LIBRARIES.keys() & SOURCES.libraries(modules))
    versions = {name: version(LIBRARIES[name]).partition("+")[0] for name in libraries}
    return fingerprint(sources=SOURCES.hash(modules), versions=versions)


def _modules(maker: str | type) -> set[str]:
    if isinstance(maker, str):
        return {maker}
    return {base.__module__ for base in maker.__mro__ if base.__module__.startswith("dcr.")}


def json_hash(value: object) -> str:
    """Return the hex sha256 of a value as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def weights_hash(module: torch.nn.Module) -> str:
    """Return the hex sha256 over a module's sorted tensor names, dtypes, shapes and values."""
    return tensors_hash(module.state_dict())


def tensors_hash(tensors: dict[str, torch.Tensor]) -> str:
    """Return the hex sha256 over sorted names, dtypes, shapes and values of ``tensors``."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}\n".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(values.numpy().data)
    return digest.hexdigest()


def without_origin(config: Any) -> Any:
    """Return a library's ``config`` of a model, without where and by which version it is from."""
    if not isinstance(config, Mapping):
        return config
    return {
        name: without_origin(value)
        for name, value in config.items()
        if not str(name).startswith("_") and name not in _ORIGIN
    }
