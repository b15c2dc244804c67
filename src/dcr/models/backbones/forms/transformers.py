"""What the forms of transformers' families share."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from dcr.models.backbones.conversion.tokenizers import (
    is_open_clip_vocabulary,
    write_transformers_tokenizer,
)
from dcr.models.backbones.forms.base import Forms
from dcr.models.backbones.transformers.backbone import TransformersBackbone


class TransformersForms(Forms):
    """A backbone around a model of transformers as other libraries have it."""

    backbone: TransformersBackbone

    @abstractmethod
    def to_open_clip(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Return ``model_cfg``, without a tokenizer, and state of the open_clip model.

        Raises:
            UserError: open_clip cannot express it.
        """

    def open_clip(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """See `Forms.open_clip`."""
        model_cfg, state = self.to_open_clip()
        if not is_open_clip_vocabulary(self.backbone.tokenizer):
            model_cfg["text_cfg"]["hf_tokenizer_name"] = "."
        return model_cfg, state

    def transformers(self) -> PreTrainedModel:
        """See `Forms.transformers`."""
        return self.backbone.model

    def write_tokenizer(self, folder: Path) -> None:
        """See `Forms.write_tokenizer`, into ``folder``."""
        write_transformers_tokenizer(folder, self.backbone.tokenizer)
