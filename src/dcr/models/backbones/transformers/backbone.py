"""The backbone around a model of transformers with an image and a text tower."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from dcr.data.transforms import Preprocessing
from dcr.models.backbones.base import Backbone
from dcr.models.backbones.transformers.folder import TransformersFolder, model_type_of
from dcr.models.backbones.transformers.processor import read_preprocessing
from dcr.models.model_configs import load_tokenizer


class TransformersTower(nn.Module):
    """Vision model, pooling and projection as one module.

    It takes normalised pixels (B, 3, H, H) to embeddings (B, d).
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.vision_model = model.vision_model
        self.visual_projection = getattr(model, "visual_projection", nn.Identity())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the pooled and, for CLIP, projected embedding of normalised ``pixels``."""
        pooled = self.vision_model(pixel_values=pixels).pooler_output
        embeddings: torch.Tensor = self.visual_projection(pooled)
        return embeddings


class TransformersBackbone(Backbone):
    """A backbone around a model of transformers; a family says of which class.

    Args:
        model: with image and text tower, on any device.
        preprocessing: how images become its input.
        folder: where it was loaded from; its tokenizer is read from there at first use.

    Attributes:
        model_class: of the family, in transformers.
        processor: of the family: its image processor, where a folder does not say; ``clip`` or
            ``siglip``.
    """

    layout = "transformers"
    model_class: ClassVar[type[PreTrainedModel]]
    processor: ClassVar[str]
    model: Any  # transformers finds what its classes have by name
    visual: Any

    def __init__(self, model: PreTrainedModel, preprocessing: Preprocessing, folder: Path) -> None:
        vision = model.config.vision_config
        super().__init__(
            model,
            TransformersTower(model),
            preprocessing,
            self.width_of(model.config),
            partial(load_tokenizer, folder),
            str(folder),
        )
        self._num_patches = (vision.image_size // vision.patch_size) ** 2

    @staticmethod
    @abstractmethod
    def width_of(config: PreTrainedConfig) -> int:
        """Return d, the width of the image embedding, of a model with this ``config``."""

    @classmethod
    def recognises(cls, location: str) -> bool:
        """See `Backbone.recognises`, of ``location``."""
        return model_type_of(Path(location)) == cls.model_type

    @classmethod
    def load(cls, location: str, device: str | torch.device) -> Self:
        """Load the folder ``location`` on ``device``; see `Backbone.load`.

        Its weights are safetensors, or ``pytorch_model.bin``, which is read as tensors alone.
        """
        read = TransformersFolder.read(Path(location), cls.model_class)
        backbone = cls(read.load(), cls._preprocessing(read), read.path)
        backbone.to(device)
        return backbone

    @classmethod
    def check(cls, location: str) -> None:
        """See `Backbone.check`, of ``location``."""
        read = TransformersFolder.read(Path(location), cls.model_class)
        read.fitted(only_shapes=True)
        cls._preprocessing(read)

    @classmethod
    def outline(cls, location: str) -> Self:
        """See `Backbone.outline`, of ``location``."""
        read = TransformersFolder.read(Path(location), cls.model_class)
        model: Any = cls.model_class
        return cls(model(read.config), cls._preprocessing(read), read.path)

    @classmethod
    def _preprocessing(cls, read: TransformersFolder) -> Preprocessing:
        image_size = read.config.vision_config.image_size
        return read_preprocessing(read.path, image_size, cls.processor)

    def encode_tokens(
        self, pixels: torch.Tensor, layer: int = -2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Backbone.encode_tokens`.

        ``pixels`` are (B, 3, H, H) in [0, 1], ``layer`` is counted from the end.
        """
        pixels = self.preprocessing.normalize(pixels)
        outputs = self.visual.vision_model(pixel_values=pixels, output_hidden_states=True)
        embeddings = self.visual.visual_projection(outputs.pooler_output)
        return embeddings, outputs.hidden_states[layer][:, -self._num_patches :]

    def enable_gradient_checkpointing(self) -> None:
        """See `Backbone.enable_gradient_checkpointing`."""
        self.model.activation_checkpointing_enable({"use_reentrant": False})

    def _tokenize(self, tokenizer: Any, texts: list[str]) -> torch.Tensor:
        """Pad to the context length, as SigLIP was trained and CLIP does not mind."""
        length = self.model.config.text_config.max_position_embeddings
        tokens = tokenizer(
            texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        ids: torch.Tensor = tokens.input_ids
        return ids

    @property
    def vocab_size(self) -> int:
        """See `Backbone.vocab_size`."""
        return int(self.model.config.text_config.vocab_size)

    def count_tokens(self, texts: list[str]) -> list[int]:
        """See `Backbone.count_tokens`; ``texts`` are not cut before they are counted."""
        return [len(ids) for ids in self.tokenizer(list(texts)).input_ids]

    def _encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.model.text_model(input_ids=tokens).pooler_output
        return pooled
