"""Image features from an exported folder."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from dcr.backbones import Backbone, load_backbone
from dcr.errors import UserError
from dcr.sources import LOCAL


class Encoder:
    """Image features from an exported folder.

    Example:
        >>> encoder = dcr.load_encoder("data/06_models/demo/export")
        >>> features = encoder.encode_image([Image.open("fish.jpg")])
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    @torch.no_grad()
    def encode_image(self, images: list[Image.Image], batch_size: int = 64) -> torch.Tensor:
        """Return embeddings (N, d) float32 on the CPU, before L2 normalisation."""
        features = [torch.empty(0, self.backbone.embed_dim)]
        for start in range(0, len(images), batch_size):
            pixels = torch.stack([self.backbone.preprocess(image) for image in images[start : start + batch_size]])
            features.append(self.backbone.encode_image(pixels.to(self.backbone.device)).float().cpu())
        return torch.cat(features)


def load_encoder(folder: str | Path, device: str | torch.device = "cpu") -> Encoder:
    """Load an exported folder, or any model folder, for image features; UserError if it holds no model."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"Encoder folder {folder} does not exist: run `kedro run --pipelines training` or `make demo`.")
    prefix = LOCAL if (folder / "open_clip_config.json").is_file() else ""
    return Encoder(load_backbone(f"{prefix}{folder}", device))
