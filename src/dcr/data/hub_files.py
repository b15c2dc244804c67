"""Which files of a model's repository or folder are needed, by the library it is written for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from dcr.errors import UserError

Kind = Literal["open_clip", "transformers", "diffusers", "tokenizer"]

WEIGHTS = {
    "open_clip": (
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
        "open_clip_pytorch_model.pth",
        "model.safetensors",
        "pytorch_model.bin",
        "pytorch_model.pth",
        "model.pth",
    ),
    "transformers": (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ),
}
"""Names of files of weights; the first that a folder or repository has is taken, safetensors
before pickles.
"""

CONFIGS = {
    "open_clip": "open_clip_config.json",
    "transformers": "config.json",
    "diffusers": "unet/config.json",
    "tokenizer": "tokenizer_config.json",
}
"""The file that every repository of a kind has."""

_TOKENIZER = re.compile(
    r"(special_tokens_map|added_tokens|tokenizer_config|tokenizer|vocab)\.json|merges\.txt|[^/]+\.model"
)
_BESIDE = re.compile(
    r"README\.md|LICEN[CS]E.*|(open_clip_|preprocessor_|tokenizer_)?config\.json|tokenizer\.(json|model)|vocab\.(json|txt)"
    r"|merges\.txt|(special_tokens_map|added_tokens)\.json|spiece\.model"
)
_DIFFUSERS = re.compile(
    r"README\.md|LICEN[CS]E.*|model_index\.json|scheduler/scheduler_config\.json|tokenizer/[^/]+"
    r"|(vae|unet|text_encoder)/config\.json|(vae|unet)/diffusion_pytorch_model\.safetensors"
    r"|text_encoder/model\.safetensors"
)
_DIFFUSERS_WEIGHTS = (
    "vae/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
)


def needed_files(kind: Kind, names: Iterable[str]) -> list[str]:
    """Return the files that loading needs: configurations, tokenizer, one set of weights.

    Args:
        kind: the library that the repository is written for.
        names: all its files, relative to it.

    Raises:
        UserError: the repository has no weights that can be read safely.
    """
    names = sorted(names)
    if kind == "diffusers":
        lacking = [name for name in _DIFFUSERS_WEIGHTS if name not in names]
        if lacking:
            raise UserError(
                f"it has no {', '.join(lacking)}: choose one in diffusers' folder layout"
            )
        return [name for name in names if _DIFFUSERS.fullmatch(name)]
    if kind == "tokenizer":
        return [name for name in names if _TOKENIZER.fullmatch(name)]
    weights = next((name for name in WEIGHTS[kind] if name in names), None)
    if weights is None:
        raise UserError(f"it has none of {', '.join(WEIGHTS[kind])}: it holds no {kind} model")
    parts = [weights]
    if weights.endswith(".index.json"):
        stem, extension = weights.removesuffix(".index.json").rsplit(".", 1)
        part = re.compile(rf"{re.escape(stem)}-\d+-of-\d+\.{extension}")
        parts += [name for name in names if part.fullmatch(name)]
    return sorted(parts + [name for name in names if _BESIDE.fullmatch(name)])


def files_in(folder: Path) -> list[str]:
    """Return the names of all files in ``folder`` and below, relative to it, sorted."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
