"""Image towers behind one interface: open_clip models and transformers CLIPModel or SiglipModel folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dcr.backbones.attention import (
    LORA_LAYERS,
    fuse_attention,
    lora_targets,
    merge_lora,
    split_attention,
    transformer_blocks,
)
from dcr.backbones.base import Backbone, Preprocessing
from dcr.devices import resolve_device
from dcr.errors import UserError
from dcr.sources import LOCAL, backbone_location

if TYPE_CHECKING:
    import torch

__all__ = [
    "LORA_LAYERS",
    "Backbone",
    "Preprocessing",
    "fuse_attention",
    "load_backbone",
    "lora_targets",
    "merge_lora",
    "split_attention",
    "transformer_blocks",
]


def load_backbone(source: str, device: str | torch.device = "cpu") -> Backbone:
    """Load a backbone in evaluation mode, float32. Nothing is downloaded: what is not here is an error that says so.

    Args:
        source: the path of a folder (transformers', or open_clip's), ``local-dir:<folder>`` (open_clip's),
            ``<org>/<name>[@<revision>]`` (a transformers repository of the hub), ``hf-hub:<org>/<name>[@<revision>]``
            (one of open_clip's), or ``<open_clip model>/<pretrained tag or weights file>``. In a folder with both
            ``config.json`` and ``open_clip_config.json`` the bare path means transformers.
        device: where the model goes; ``auto`` is an accelerator if there is one.

    Raises:
        UserError: the source is missing, has no config, or holds weights that are unsafe or do not fit.
    """
    backbone = _load_local(backbone_location(source), resolve_device(device))
    backbone.source = source
    return backbone


def _load_local(source: str, device: str | torch.device) -> Backbone:
    folder = Path(source)
    if source.startswith(LOCAL) or not folder.is_dir():
        return _load_open_clip(source, device)
    if (folder / "config.json").is_file():
        from dcr.backbones.transformers import load_transformers

        return load_transformers(folder, device)
    if (folder / "open_clip_config.json").is_file():
        return _load_open_clip(f"{LOCAL}{source}", device)
    raise UserError(
        f"Backbone folder {source} has neither config.json (transformers) nor open_clip_config.json "
        f"(open_clip): point the recipe's backbone at a model folder."
    )


def _load_open_clip(source: str, device: str | torch.device) -> Backbone:
    from dcr.backbones.open_clip import load_open_clip

    return load_open_clip(source, device)
