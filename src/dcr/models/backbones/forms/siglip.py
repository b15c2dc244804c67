"""A SiglipModel of transformers: as it is, and as open_clip's model with a tower of timm."""

from __future__ import annotations

from typing import Any

import torch

from dcr.models.backbones.conversion.siglip import siglip_to_open_clip
from dcr.models.backbones.families.siglip import SiglipBackbone
from dcr.models.backbones.forms.transformers import TransformersForms


class SiglipForms(TransformersForms):
    """A backbone around a SiglipModel as other libraries have it."""

    family = SiglipBackbone
    image_processor = "SiglipImageProcessor"

    def to_open_clip(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """See `TransformersForms.to_open_clip`."""
        return siglip_to_open_clip(self.backbone.model)


FORMS = SiglipForms
