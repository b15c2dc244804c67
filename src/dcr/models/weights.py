"""Files of weights as data: tensors by name, fitted to their model, or an error of one sentence.

Nothing is unpickled but tensors, and what a file claims about itself is never allocated before it
is compared.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from dcr.errors import UserError, first_line
from dcr.models.model_configs import read_json

_INDEX = ".index.json"
_WRAPPERS = ("state_dict", "model_state_dict", "module", "model")  # what trainers put a state into
_WRAPPING_MODULES = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_PREFIXES = ("model.", "clip.", "visual.", "vision_model.", "text_model.")
_BUFFERS = ("position_ids",)  # of old checkpoints; models make them themselves today
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_MAX_PACKED = 64 << 20  # bytes by which an archive may unpack to more than its own size
_NAMED = 3  # of a list of names, how many a message tells


def find_weights(folder: Path, names: Iterable[str]) -> Path:
    """Return the first of ``names`` that ``folder`` holds; UserError where it has none of them."""
    names = tuple(names)
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise UserError(
            f"{folder} has a config but no weights: one of {', '.join(names)} must lie in it"
        )
    return found


def weight_files(path: Path) -> list[Path]:
    """Return the files that hold the weights of ``path``: itself, or all that an index names.

    Raises:
        UserError: an index names files that do not lie beside it.
    """
    if not path.name.endswith(_INDEX):
        return [path]
    weight_map = read_json(path).get("weight_map")
    names = set(weight_map.values()) if isinstance(weight_map, dict) else set()
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise UserError(
            f"{path} must name, in weight_map, files that lie beside it: get the whole model again"
        )
    return [path.parent / name for name in sorted(names)]


def read_weights(path: Path, only_shapes: bool = False) -> dict[str, torch.Tensor]:
    """Return the tensors of a file, or of all files that an index names, on the CPU.

    Args:
        path: ``*.safetensors``, a file of ``torch.save``, a TorchScript archive, or
            ``*.index.json`` beside its parts. A state may lie inside ``state_dict``, ``model`` and
            the like, as trainers write it.
        only_shapes: return tensors without values; of safetensors only the header is read then.

    Raises:
        UserError: the file is missing, empty, cut off, or holds anything but tensors.
    """
    parts = weight_files(path)
    if parts != [path]:
        return {
            name: tensor
            for part in parts
            for name, tensor in read_weights(part, only_shapes).items()
        }
    if not path.is_file():
        raise UserError(f"{path} is missing: get the whole model again")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty: get the whole model again")
    if path.suffix == ".safetensors":
        return _read_safetensors(path, only_shapes)
    state = _unwrap(_read_torch(path), path)
    return {name: tensor.to("meta") for name, tensor in state.items()} if only_shapes else state


def fit(
    state: dict[str, torch.Tensor],
    model: torch.nn.Module,
    path: Path,
    adapt: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None,
) -> dict[str, torch.Tensor]:
    """Return ``state`` under the model's own names; prefixes of trainers and wrappers are stripped.

    Args:
        state: tensors by name, with or without values.
        model: the model they are meant for, with or without values.
        path: where they come from, for messages.
        adapt: gives tensors of an old or foreign layout, without prefixes, the names of today.

    Raises:
        UserError: weights are missing, left over, of another shape, or no floating-point numbers of
            16 bits or more.
    """
    expected = model.state_dict()
    renamed = _strip_prefixes(state, expected)
    renamed = adapt(renamed) if adapt else renamed
    leftover = [
        name for name in renamed if name not in expected and name.rpartition(".")[2] in _BUFFERS
    ]
    fitted = {
        name: _as_shaped(renamed[name], expected.get(name))
        for name in renamed
        if name not in leftover
    }
    problems = [*_misfits(fitted, expected), *_wrong_types(fitted, expected)]
    if problems:
        raise UserError(
            f"{path} does not fit the model: {'; '.join(problems)}; name the model that these"
            " weights belong to, and give its whole checkpoint"
        )
    return fitted


def _read_safetensors(path: Path, only_shapes: bool) -> dict[str, torch.Tensor]:
    from safetensors import safe_open
    from safetensors.torch import load_file

    try:
        if not only_shapes:
            return load_file(path)
        with safe_open(path, "pt") as file:
            return {name: _shape_of(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library's own kinds, and whatever a foreign header may raise
        raise UserError(
            f"{path} is no whole safetensors file ({first_line(error)}): get it again"
        ) from error


def _shape_of(tensor: Any) -> torch.Tensor:
    from safetensors.torch import _TYPES  # safetensors' names of types

    return torch.empty(tensor.get_shape(), dtype=_TYPES[tensor.get_dtype()], device="meta")


def _read_torch(path: Path) -> Any:
    from dcr.models.backbones.torchscript import is_torchscript, read_torchscript

    try:
        _check_archive(path)
        if is_torchscript(path):
            return read_torchscript(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a foreign file may raise
        raise UserError(
            f"{path} cannot be loaded, as it holds other things than tensors or is not whole "
            f"({first_line(error)}): get it again, or save its state dict as safetensors"
        ) from error


def _check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to far more than its own size.

    Tensors are stored in it, programs alone are packed.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > path.stat().st_size + _MAX_PACKED:
            raise ValueError(f"it would unpack to {unpacked} bytes")


def _unwrap(checkpoint: Any, path: Path) -> dict[str, torch.Tensor]:
    for _ in range(len(_WRAPPERS)):
        inner = [
            checkpoint[key]
            for key in _WRAPPERS
            if isinstance(checkpoint, dict) and key in checkpoint
        ]
        checkpoint = next((value for value in inner if isinstance(value, dict)), checkpoint)
    tensors = checkpoint.items() if isinstance(checkpoint, dict) else ()
    state = {
        name: value
        for name, value in tensors
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    if not state:
        raise UserError(f"{path} holds no tensors by name: give a state dict")
    return state


def _strip_prefixes(state: dict[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state under the names, with or without a known prefix, that match best."""
    forms = [{_without_wrappers(name): value for name, value in state.items()}]
    for form in forms:  # it grows: prefixes may be nested
        shared = [prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in form)]
        forms += [
            {name.removeprefix(prefix): value for name, value in form.items()} for prefix in shared
        ]
    forms += [{prefix + name: value for name, value in forms[0].items()} for prefix in _PREFIXES]
    # Of equals the first is taken, which is the state as it stands.
    return max(forms, key=lambda form: len(form.keys() & expected.keys()))


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPING_MODULES)


def _as_shaped(tensor: torch.Tensor, expected: torch.Tensor | None) -> torch.Tensor:
    """Return a single number in the model's form.

    Libraries disagree on () and (1,) for the logit scale.
    """
    if expected is not None and tensor.numel() == expected.numel() == 1:
        return tensor.reshape(expected.shape)
    return tensor


def _misfits(state: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    shared = sorted(
        name for name in state.keys() & expected.keys() if state[name].shape != expected[name].shape
    )
    shapes = [
        f"{name}: {list(state[name].shape)} in the file, {list(expected[name].shape)} there"
        for name in shared
    ]
    told = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
    return [f"{_weights_are(names)} {what} ({_first(names)})" for what, names in told if names]


def _wrong_types(state: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    floats = [name for name in state if name in expected and expected[name].is_floating_point()]
    wrong = [f"{name}: {state[name].dtype}" for name in floats if state[name].dtype not in _FLOATS]
    return (
        [f"{_weights_are(wrong)} of a type that says nothing without a scale ({_first(wrong)})"]
        if wrong
        else []
    )


def _weights_are(names: list[str]) -> str:
    return "1 weight is" if len(names) == 1 else f"{len(names)} weights are"


def _first(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
