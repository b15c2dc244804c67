"""transformers' CLIPModel: OpenAI's CLIP, MetaCLIP and others of its architecture."""

from __future__ import annotations

import torch
from transformers import CLIPModel, PreTrainedConfig
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from dcr.models.backbones.blocks import Blocks
from dcr.models.backbones.projection import Projection
from dcr.models.backbones.transformers.backbone import TransformersBackbone


class ClipBackbone(TransformersBackbone):
    """A backbone around a CLIPModel."""

    model_type = "clip"
    model_class = CLIPModel
    processor = "clip"
    blocks = Blocks((CLIPEncoderLayer,))

    @staticmethod
    def width_of(config: PreTrainedConfig) -> int:
        """See `TransformersBackbone.width_of`, of ``config``."""
        return int(config.projection_dim)

    def image_projection(self) -> Projection:
        """See `Backbone.image_projection`."""
        return Projection.of(self.model.visual_projection, "visual_projection")

    def text_projection(self) -> Projection:
        """See `Backbone.text_projection`."""
        return Projection.of(self.model.text_projection, "text_projection")

    def _encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = self.model.text_projection(super()._encode_tokens(tokens))
        return embeddings


FAMILY = ClipBackbone
