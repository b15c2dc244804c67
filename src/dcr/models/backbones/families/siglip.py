"""transformers' SiglipModel: SigLIP, and SigLIP 2 where its images are square."""

from __future__ import annotations

from transformers import PreTrainedConfig, SiglipModel
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from dcr.models.backbones.blocks import Blocks
from dcr.models.backbones.projection import Projection
from dcr.models.backbones.transformers.backbone import TransformersBackbone


class SiglipBackbone(TransformersBackbone):
    """A backbone around a SiglipModel."""

    model_type = "siglip"
    model_class = SiglipModel
    processor = "siglip"
    blocks = Blocks((SiglipEncoderLayer,))

    @staticmethod
    def width_of(config: PreTrainedConfig) -> int:
        """See `TransformersBackbone.width_of`, of ``config``."""
        return int(config.vision_config.hidden_size)

    def image_projection(self) -> None:
        """See `Backbone.image_projection`: the tower ends in its pooling."""

    def text_projection(self) -> Projection:
        """See `Backbone.text_projection`."""
        return Projection.of(self.model.text_model.head, "text_model.head")


FAMILY = SiglipBackbone
