"""What every family of backbones says and offers, whatever library it comes from.

Notation: B batch, N texts, d width of the image embedding, H image size in pixels, P patches, w
width of the tower.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import nn

from dcr.data.hub_files import Kind, needed_files
from dcr.data.transforms import Preprocessing
from dcr.errors import UserError, first_line
from dcr.fingerprints import without_origin
from dcr.models.backbones.blocks import Blocks
from dcr.models.backbones.projection import Projection


class Backbone(ABC):
    """An image tower with its preprocessing and its text side; a subclass is a family of them.

    Args:
        load_tokenizer: returns the tokenizer as its library builds it; called at the first use of
            `tokenizer`, once for a backbone and all its copies.

    Attributes:
        layout: of the family: the library whose folders and repositories hold it.
        model_type: of the family: what ``config.json`` calls it, None where folders have none.
        blocks: of the family: the transformer blocks of its towers, and what LoRA may touch there.
        model: the whole model, as its own library built it.
        visual: the image tower alone, normalised pixels to embedding; what LoRA is put on. It
            shares its modules with ``model``.
        preprocessing: image size, mean, standard deviation, interpolation and resize mode.
        embed_dim: d, the width of the image embedding before L2 normalisation.
        source: where it was loaded from, for messages and model cards.
    """

    layout: ClassVar[Kind]
    model_type: ClassVar[str | None] = None
    blocks: ClassVar[Blocks]

    @classmethod
    @abstractmethod
    def recognises(cls, location: str) -> bool:
        """Tell, by its configuration, whether the local source ``location`` is of this family."""

    @classmethod
    @abstractmethod
    def load(cls, location: str, device: str | torch.device) -> Self:
        """Return the backbone at ``location`` on ``device``, float32; UserError if it cannot be."""

    @classmethod
    @abstractmethod
    def check(cls, location: str) -> None:
        """Compare configuration and weights at ``location``, unloaded; UserError if they misfit."""

    @classmethod
    @abstractmethod
    def outline(cls, location: str) -> Self:
        """Return the backbone at ``location`` with random weights; its own are not read."""

    @classmethod
    def needed_files(cls, names: Iterable[str]) -> list[str]:
        """Return which of a folder's ``names`` loading reads; UserError if weights are missing."""
        return needed_files(cls.layout, names)

    def __init__(
        self,
        model: nn.Module,
        visual: nn.Module,
        preprocessing: Preprocessing,
        embed_dim: int,
        load_tokenizer: Callable[[], Any],
        source: str,
    ) -> None:
        self.model = model.eval()
        self.visual = visual
        self.preprocessing = preprocessing
        self.embed_dim = embed_dim
        self.source = source
        # Copies share what it returns, which nothing changes: copying it costs more than the model.
        self._load_tokenizer = cache(load_tokenizer)

    def settings(self) -> dict[str, Any]:
        """Return, as plain values, what decides about the features beside the weights.

        Modules and configuration both count: weights may be those of two activations, or of two
        numbers of heads.
        """
        config: Any = getattr(self, "model_cfg", None) or getattr(self.model, "config", None)
        plain = config.to_dict() if hasattr(config, "to_dict") else config
        return {
            "modules": repr(self.model),
            "config": without_origin(plain),
            "preprocessing": asdict(self.preprocessing),
        }

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.preprocessing.image_size

    @property
    def mean(self) -> tuple[float, float, float]:
        """Per-channel mean that the tower was trained with, for pixels in [0, 1]."""
        return self.preprocessing.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """Per-channel standard deviation that the tower was trained with, for pixels in [0, 1]."""
        return self.preprocessing.std

    @property
    def interpolation(self) -> str:
        """``bicubic`` or ``bilinear``."""
        return self.preprocessing.interpolation

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        """Return ``image``, of any mode, resized and cropped: (3, H, H) float32 in [0, 1].

        It is not normalised.
        """
        return self.preprocessing(image)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return embeddings (B, d), before L2 normalisation, of ``pixels``; differentiable.

        ``pixels`` are (B, 3, H, H) in [0, 1].
        """
        embeddings: torch.Tensor = self.visual(self.preprocessing.normalize(pixels))
        return embeddings

    @abstractmethod
    def encode_tokens(
        self, pixels: torch.Tensor, layer: int = -2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return embeddings (B, d) and patch tokens (B, P, w) in one pass; differentiable.

        The embeddings are those of `encode_image`. The tokens are those after block ``layer``,
        without class token and final norm. The default, the last block but one, is what LLaVA
        reads.

        Args:
            pixels: (B, 3, H, H) in [0, 1].
            layer: the block, counted from the end: -1 is the last.
        """

    def patch_tokens(self, pixels: torch.Tensor, layer: int = -2) -> torch.Tensor:
        """Return patch tokens (B, P, w) of ``pixels`` after ``layer``, see `encode_tokens`."""
        return self.encode_tokens(pixels, layer)[1]

    @abstractmethod
    def image_projection(self) -> Projection | None:
        """Return the linear layer that the image tower ends in; None where it ends otherwise."""

    @abstractmethod
    def text_projection(self) -> Projection | None:
        """Return the linear layer that the text tower ends in; None where it ends otherwise."""

    @abstractmethod
    def enable_gradient_checkpointing(self) -> None:
        """Have the tower's blocks computed again in the backward pass instead of kept."""

    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Return embeddings (N, d) of ``texts`` before L2 normalisation; without gradient.

        Raises:
            UserError: the tokenizer is another model's: it makes tokens that the text tower has no
                embeddings for.
        """
        tokens = self.tokenize(texts)
        if tokens.numel() and not 0 <= tokens.min() <= tokens.max() < self.vocab_size:
            raise UserError(
                f"The tokenizer of backbone {self.source} makes the token {tokens.max()}, but its"
                f" text tower has embeddings for {self.vocab_size}: it is the tokenizer of another"
                " model, get the model's own"
            )
        return self._encode_tokens(tokens.to(self.device))

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of tokens that the text tower has embeddings for."""

    @property
    def tokenizer(self) -> Any:
        """The library's own tokenizer, read at first use: image features do without it."""
        try:
            return self._load_tokenizer()
        except Exception as exc:  # whatever a foreign file may raise
            raise UserError(
                f"The tokenizer of backbone {self.source} cannot be loaded: {first_line(exc)}"
            ) from exc

    @abstractmethod
    def count_tokens(self, texts: list[str]) -> list[int]:
        """Return the token counts of ``texts`` before any cut, start and end tokens included."""

    def tokenize(self, texts: list[str]) -> torch.Tensor:
        """Return token ids (N, context length) of ``texts``, int64 on the CPU, cut if too long."""
        tokenizer = self.tokenizer
        try:
            return self._tokenize(tokenizer, list(texts))
        except Exception as exc:  # whatever a foreign tokenizer may raise
            raise UserError(
                f"The tokenizer of backbone {self.source} cannot be used: {first_line(exc)}"
            ) from exc

    @abstractmethod
    def _tokenize(self, tokenizer: Any, texts: list[str]) -> torch.Tensor: ...

    @abstractmethod
    def _encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor: ...

    @property
    def logit_scale(self) -> float:
        """Factor on the cosine similarities (already exponentiated)."""
        return self.model.get_parameter("logit_scale").detach().exp().item()

    @property
    def logit_bias(self) -> float:
        """Addend on the scaled cosine similarities; 0.0 unless there is one, as SigLIP has."""
        if not self.has_sigmoid_loss:
            return 0.0
        return self.model.get_parameter("logit_bias").detach().item()

    @property
    def has_sigmoid_loss(self) -> bool:
        """Whether SigLIP's sigmoid of each pair trained it, as a bias tells, not CLIP's softmax."""
        return getattr(self.model, "logit_bias", None) is not None

    @property
    def device(self) -> torch.device:
        """The device of the image tower."""
        return next(self.visual.parameters()).device

    def to(self, device: str | torch.device) -> Backbone:
        """Move the model to ``device``, in place, and return this backbone."""
        self.model.to(device)
        return self
