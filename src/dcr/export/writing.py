"""JSON, YAML and tensors as files of a model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a mapping as JSON with sorted keys.

    Args:
        path: of the file.
        content: may hold enumerations and sets, as PEFT's configurations do.
    """

    def plain(value: Any) -> Any:
        """Return ``value``, one of PEFT's enumerations or sets, as JSON can hold it."""
        return sorted(value) if isinstance(value, set) else getattr(value, "value", str(value))

    path.write_text(
        json.dumps(content, indent=2, sort_keys=True, default=plain) + "\n", encoding="utf-8"
    )


def write_yaml(path: Path, content: list[dict[str, Any]]) -> None:
    """Write ``content`` as the YAML file ``path``, keys in their order; its folder is made."""
    import yaml

    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write ``tensors`` by name as the safetensors file ``path``; shared views become copies."""
    contiguous = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()
    }
    save_file(contiguous, path, metadata={"format": "pt"})
