"""What the forms of every family offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel

from dcr.models.backbones.base import Backbone


class Forms(ABC):
    """A backbone as other libraries have it.

    Args:
        backbone: without adapters; attention may be split. It is not changed.

    Attributes:
        family: whose backbones are written in this way, and those of its subclasses that declare no
            forms of their own.
        image_processor: transformers' class of it.
    """

    family: ClassVar[type[Backbone]]
    image_processor: ClassVar[str]

    def __init__(self, backbone: Any) -> None:
        self.backbone = backbone

    @abstractmethod
    def open_clip(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Return ``model_cfg`` and state of the open_clip model.

        Where open_clip is to read a tokenizer from the model's own folder, ``hf_tokenizer_name`` is
        set in ``text_cfg``.

        Raises:
            UserError: open_clip cannot express the model.
        """

    @abstractmethod
    def transformers(self) -> PreTrainedModel:
        """Return the model of transformers; UserError where transformers cannot express it."""

    @abstractmethod
    def write_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer, as transformers reads it, into ``folder``.

        Raises:
            UserError: token ids would differ there.
        """

    def adapter(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the ``weights`` of a LoRA adapter under the names of the model of transformers.

        Args:
            weights: by PEFT's names inside the image tower.
        """
        return dict(weights)
