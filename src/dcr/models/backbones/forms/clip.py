"""A CLIPModel of transformers: as it is, and as open_clip's CLIP."""

from __future__ import annotations

from typing import Any

import torch

from dcr.models.backbones.conversion.clip import to_open_clip
from dcr.models.backbones.families.clip import ClipBackbone
from dcr.models.backbones.forms.transformers import TransformersForms


class ClipForms(TransformersForms):
    """A backbone around a CLIPModel as other libraries have it."""

    family = ClipBackbone
    image_processor = "CLIPImageProcessor"

    def to_open_clip(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """See `TransformersForms.to_open_clip`."""
        return to_open_clip(self.backbone.model)


FORMS = ClipForms
