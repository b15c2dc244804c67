"""open_clip's models with a tower of timm: as they are, and SigLIP as transformers' SiglipModel."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import PreTrainedModel

from dcr.models.backbones.conversion.siglip import to_siglip_adapter, to_siglip_model
from dcr.models.backbones.conversion.timm_vit import is_siglip
from dcr.models.backbones.conversion.towers import inexpressible
from dcr.models.backbones.families.open_clip_timm import TimmBackbone
from dcr.models.backbones.forms.open_clip import OpenClipForms


class TimmForms(OpenClipForms):
    """A backbone of open_clip with a tower of timm, as other libraries have it."""

    family = TimmBackbone
    image_processor = "SiglipImageProcessor"

    def transformers(self) -> PreTrainedModel:
        """See `Forms.transformers`; of timm's towers transformers has SigLIP's alone."""
        if not is_siglip(self.backbone.visual):
            raise inexpressible(f"its image tower is a {type(self.backbone.visual).__name__}")
        return to_siglip_model(self.backbone.model)

    def adapter(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `Forms.adapter`, of ``weights``."""
        return to_siglip_adapter(weights)


FORMS = TimmForms
