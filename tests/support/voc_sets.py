"""Small segmentation sets in Pascal VOC's layout, and an encoder that sees a patch's colour."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmark_folders import COLOURS, ColourBackbone

IGNORED = 255
SIDE = 16
# Of all 256 entries: of a shorter palette Pillow stores fewer bits than 255 needs.
_PALETTE = [value for rgb in COLOURS.values() for value in rgb] + [0] * 3 * (256 - len(COLOURS))


class PatchBackbone(ColourBackbone):
    """Gives the mean colour of each patch of 2 x 2 pixels as its token, centred at grey.

    ``kind`` "constant" gives the same token everywhere, "random" one that depends on nothing of it.
    """

    def __init__(self, kind: str = "colour") -> None:
        super().__init__()
        self.kind = kind
        self.num_seen = 0
        self.register_buffer("kind_in_weights", torch.tensor([ord(letter) for letter in kind]))

    def encode_tokens(
        self, pixels: torch.Tensor, layer: int = -2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.num_seen += len(pixels)
        tokens = torch.nn.functional.avg_pool2d(pixels, 2).flatten(2).mT - 0.5
        if self.kind == "constant":
            tokens = torch.ones_like(tokens)
        elif self.kind == "random":
            tokens = torch.randn(
                tokens.shape, generator=torch.Generator().manual_seed(self.num_seen)
            )
        return self.encode_image(pixels), tokens


def png(classes: np.ndarray, mode: str = "P") -> bytes:
    """Return a PNG of class indices, by default with a palette of colours."""
    image = Image.fromarray(classes.astype(np.uint8), "L")
    if mode == "P":
        image = Image.fromarray(classes.astype(np.uint8), "P")
        image.putpalette(_PALETTE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def picture(classes: np.ndarray) -> bytes:
    """Return a PNG of each pixel in the colour of its class; of ignored ones in the last."""
    colours = np.array([*COLOURS.values()], dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours[np.minimum(classes, len(colours) - 1)]).save(buffer, "PNG")
    return buffer.getvalue()


def quarters(generator: np.random.Generator, num_classes: int = 4) -> np.ndarray:
    """Return a mask whose quarters are of classes drawn alike."""
    return np.kron(generator.integers(0, num_classes, (2, 2)), np.ones((SIDE // 2, SIDE // 2), int))


def write_voc(
    folder: Path,
    num_train: int = 12,
    num_val: int = 10,
    seed: int = 0,
    masks: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write ``num_train`` and ``num_val`` images; ``masks`` take the place of drawn ones."""
    for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / place).mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for split, number in (("train", num_train), ("val", num_val)):
        names = [f"{split}_{index:03d}" for index in range(number)]
        for name in names:
            mask = (masks or {}).get(name, quarters(generator))
            (folder / "JPEGImages" / f"{name}.png").write_bytes(picture(mask))
            (folder / "SegmentationClass" / f"{name}.png").write_bytes(png(mask))
        text = "".join(f"{name}\n" for name in names)
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text)
    return folder
