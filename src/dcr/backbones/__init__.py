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

_OPEN_CLIP_PREFIXES = ("local-dir:", "hf-hub:")


def load_backbone(source: str, device: str | torch.device = "cpu") -> Backbone:
    """Load a backbone in evaluation mode, float32.

    Args:
        source: ``local-dir:<folder>`` (open_clip folder), ``hf-hub:<org>/<name>``, ``<open_clip model>/<pretrained
            tag or weights file>``, or the path of a folder. In a folder with both ``config.json`` and
            ``open_clip_config.json`` the bare path means transformers.
        device: where the model goes; ``auto`` is an accelerator if there is one.

    Raises:
        UserError: the source is missing, has no config, or holds weights that are unsafe or do not fit.
    """
    device = resolve_device(device)
    if source.startswith(_OPEN_CLIP_PREFIXES):
        return _load_open_clip(source, device)
    folder = Path(source)
    if folder.is_dir():
        if (folder / "config.json").is_file():
            from dcr.backbones.transformers import load_transformers

            return load_transformers(folder, device)
        if (folder / "open_clip_config.json").is_file():
            return _load_open_clip(f"local-dir:{source}", device)
        raise UserError(
            f"Backbone folder {source} has neither config.json (transformers) nor open_clip_config.json "
            f"(open_clip): point the recipe's backbone at a model folder."
        )
    return _load_open_clip(source, device)


def _load_open_clip(source: str, device: str | torch.device) -> Backbone:
    from dcr.backbones.open_clip import load_open_clip

    return load_open_clip(source, device)
