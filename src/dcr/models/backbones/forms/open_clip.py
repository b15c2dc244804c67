"""open_clip's own models: as they are, and as a CLIPModel of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from open_clip import SimpleTokenizer
from transformers import PreTrainedModel

from dcr.errors import UserError
from dcr.models.backbones.attention import fused_state_dict
from dcr.models.backbones.conversion.clip import to_clip_model, to_clip_module_name
from dcr.models.backbones.conversion.tokenizers import (
    write_clip_tokenizer,
    write_transformers_tokenizer,
)
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from dcr.models.backbones.forms.base import Forms


class OpenClipForms(Forms):
    """A backbone of open_clip as other libraries have it."""

    family = OpenClipBackbone
    image_processor = "CLIPImageProcessor"
    backbone: OpenClipBackbone

    def open_clip(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """See `Forms.open_clip`."""
        return deepcopy(self.backbone.model_cfg), fused_state_dict(self.backbone.model)

    def transformers(self) -> PreTrainedModel:
        """See `Forms.transformers`."""
        tokenizer = self.backbone.tokenizer
        eos = (
            tokenizer.eot_token_id
            if isinstance(tokenizer, SimpleTokenizer)
            else tokenizer.tokenizer.eos_token_id
        )
        return to_clip_model(self.backbone.model, eos)

    def write_tokenizer(self, folder: Path) -> None:
        """See `Forms.write_tokenizer`, into ``folder``."""
        tokenizer = self.backbone.tokenizer
        options = self.backbone.model_cfg["text_cfg"].get("tokenizer_kwargs")
        if not isinstance(tokenizer, SimpleTokenizer):
            write_transformers_tokenizer(folder, tokenizer.tokenizer, options)
        elif options:
            raise UserError(
                "The model cannot be written for transformers: its tokenizer cleans text in a way"
                " that CLIPTokenizer does not know (tokenizer_kwargs)."
            )
        else:
            write_clip_tokenizer(folder, tokenizer.context_length)

    def adapter(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `Forms.adapter`, of ``weights``."""
        return {to_clip_module_name(name): tensor for name, tensor in weights.items()}


FORMS = OpenClipForms
