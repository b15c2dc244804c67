"""Image towers behind one interface: open_clip models and transformers CLIPModel or SiglipModel
folders.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dcr.data.hub_files import Kind
from dcr.data.sources import LOCAL, backbone_location
from dcr.data.transforms import Preprocessing
from dcr.devices import resolve_device
from dcr.errors import UserError
from dcr.finite import require_finite
from dcr.models.backbones.attention import (
    LORA_LAYERS,
    fuse_attention,
    lora_targets,
    merge_lora,
    split_attention,
    transformer_blocks,
)
from dcr.models.backbones.base import Backbone

if TYPE_CHECKING:
    import torch

__all__ = [
    "LORA_LAYERS",
    "Backbone",
    "Preprocessing",
    "check_backbone",
    "find_library",
    "fuse_attention",
    "load_backbone",
    "lora_targets",
    "merge_lora",
    "split_attention",
    "transformer_blocks",
]


def load_backbone(source: str, device: str | torch.device = "cpu") -> Backbone:
    """Load a backbone in evaluation mode, float32. Nothing is downloaded: what is not here is an
    error that says so.

    Args:
        source: the path of a folder (transformers', or open_clip's), ``local-dir:<folder>``
            (open_clip's), ``<org>/<name>[@<revision>]`` (a transformers repository of the hub),
            ``hf-hub:<org>/<name>[@<revision>]`` (one of open_clip's), or ``<open_clip
            model>/<pretrained tag or weights file>``. In a folder with both ``config.json`` and
            ``open_clip_config.json`` the bare path means transformers.
        device: where the model goes; ``auto`` is an accelerator if there is one.

    Raises:
        UserError: the source is missing, has no config, or holds weights that are unsafe, do not
            fit or are not finite.
    """
    backbone = _load_local(backbone_location(source), resolve_device(device))
    backbone.source = source
    require_finite(
        backbone.model.state_dict(), f"backbone {source}", "get or make its weights again"
    )
    return backbone


def check_backbone(source: str) -> None:
    """Compare a backbone's configuration with its weights, without loading them.

    Args:
        source: as for `load_backbone`.

    Raises:
        UserError: as `load_backbone` does.
    """
    location, kind = find_library(backbone_location(source))
    if kind == "transformers":
        from dcr.models.backbones.transformers import check_transformers

        check_transformers(Path(location))
    else:
        from dcr.models.backbones.open_clip import check_open_clip

        check_open_clip(location)


def find_library(source: str) -> tuple[str, Kind]:
    """Return a local source, with open_clip's prefix where it is one of its folders, and the
    library that reads it.

    Args:
        source: as `dcr.data.sources.backbone_location` returns it.

    Raises:
        UserError: it is a folder without the configuration of a model.
    """
    folder = Path(source)
    if source.startswith(LOCAL) or not folder.is_dir():
        return source, "open_clip"
    if (folder / "config.json").is_file():
        return source, "transformers"
    if (folder / "open_clip_config.json").is_file():
        return f"{LOCAL}{source}", "open_clip"
    raise UserError(
        f"Backbone folder {source} has neither config.json (transformers) nor open_clip_config.json"
        " (open_clip): point the recipe's backbone at a model folder."
    )


def _load_local(source: str, device: str | torch.device) -> Backbone:
    location, kind = find_library(source)
    if kind == "transformers":
        from dcr.models.backbones.transformers import load_transformers

        return load_transformers(Path(location), device)
    from dcr.models.backbones.open_clip import load_open_clip

    return load_open_clip(location, device)
