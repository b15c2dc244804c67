"""Diffusion Contrastive Reconstruction: sharper CLIP image encoders by a frozen diffusion model.

    from dcr import dcr_loss, Projector, load_encoder

The names are loaded on first use, so that `import dcr` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcr.losses.dcr import dcr_loss
    from dcr.models.encoder import load_encoder
    from dcr.models.projector import Projector

__version__ = "0.1.0"
__all__ = ["Projector", "__version__", "dcr_loss", "load_encoder"]

_HOMES = {
    "Projector": "dcr.models.projector",
    "dcr_loss": "dcr.losses.dcr",
    "load_encoder": "dcr.models.encoder",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dcr' has no attribute {name!r}")
