"""Image and text features from an exported folder."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from PIL import Image

from dcr.data.sources import LOCAL
from dcr.errors import UserError
from dcr.models.backbones import Backbone, load_backbone

_LOG = logging.getLogger(__name__)


class Encoder:
    """Image and text features from an exported folder.

    Example:
        >>> encoder = dcr.load_encoder("data/06_models/demo/encoder")
        >>> image_features = encoder.encode_image([Image.open("fish.jpg")])
        >>> text_features = encoder.encode_text(["a photo of a fish"])

    Args:
        backbone: the model with its preprocessing and its tokenizer; it stays on its device.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    @torch.no_grad()
    def encode_image(self, images: list[Image.Image], batch_size: int = 64) -> torch.Tensor:
        """Return embeddings (N, d) float32 on the CPU, before L2 normalisation.

        Args:
            images: N pictures of any mode and size; an empty list gives (0, d).
            batch_size: pictures in one pass of the tower.
        """
        features = [torch.empty(0, self.backbone.embed_dim)]
        for start in range(0, len(images), batch_size):
            pixels = torch.stack(
                [self.backbone.preprocess(image) for image in images[start : start + batch_size]]
            )
            features.append(
                self.backbone.encode_image(pixels.to(self.backbone.device)).float().cpu()
            )
        return torch.cat(features)

    def encode_text(self, texts: list[str], batch_size: int = 256) -> torch.Tensor:
        """Return embeddings (N, d) float32 on the CPU, before L2 normalisation.

        Texts longer than the model's context are cut, as open_clip and transformers do; a warning
        tells how many.

        Args:
            texts: N texts.
            batch_size: texts that are encoded at once.

        Raises:
            UserError: ``texts`` is no list of strings, or the folder has no tokenizer.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise UserError("texts must be a list of strings: put a single text into a list")
        features = [torch.empty(0, self.backbone.embed_dim)]
        lengths = []
        for start in range(0, len(texts), batch_size):
            batch = list(texts[start : start + batch_size])
            lengths += self.backbone.count_tokens(batch)
            features.append(self.backbone.encode_text(batch).float().cpu())
        self._tell_cut(lengths)
        return torch.cat(features)

    def _tell_cut(self, lengths: list[int]) -> None:
        context_length = self.backbone.tokenize([""]).shape[1]
        cut = sum(length > context_length for length in lengths)
        if cut:
            _LOG.warning(
                "%d of %d texts have more than %d tokens and were cut",
                cut,
                len(lengths),
                context_length,
            )


def load_encoder(folder: str | Path, device: str | torch.device = "cpu") -> Encoder:
    """Load an exported folder, or any model folder, for image and text features.

    Args:
        folder: that pipeline `export` or `training` wrote, or one of open_clip's or transformers'
            own layout.
        device: where the towers run, such as ``cpu`` or ``cuda:1``; see
            `dcr.devices.resolve_device`.

    Raises:
        UserError: there is no such folder, or it holds no model.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"Encoder folder {folder} does not exist: run `kedro run --pipelines training` or `make"
            " demo`."
        )
    prefix = LOCAL if (folder / "open_clip_config.json").is_file() else ""
    return Encoder(load_backbone(f"{prefix}{folder}", device))
