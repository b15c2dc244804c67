"""Image towers behind one interface, of whatever family (`dcr.models.backbones.families`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcr.data.sources import backbone_location
from dcr.data.transforms import Preprocessing
from dcr.devices import resolve_device
from dcr.finite import require_finite
from dcr.models.backbones.attention import fuse_attention
from dcr.models.backbones.base import Backbone
from dcr.models.backbones.blocks import LORA_LAYERS
from dcr.models.backbones.families import find_family
from dcr.models.backbones.lora import (
    lora_targets,
    merge_lora,
    split_attention,
    transformer_blocks,
)

if TYPE_CHECKING:
    import torch

__all__ = [
    "LORA_LAYERS",
    "Backbone",
    "Preprocessing",
    "check_backbone",
    "fuse_attention",
    "load_backbone",
    "lora_targets",
    "merge_lora",
    "split_attention",
    "transformer_blocks",
]


def load_backbone(source: str, device: str | torch.device = "cpu") -> Backbone:
    """Load a backbone in evaluation mode, float32; nothing is downloaded.

    What is not here is an error that says so.

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
    location = backbone_location(source)
    backbone = find_family(location).load(location, resolve_device(device))
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
    location = backbone_location(source)
    find_family(location).check(location)
