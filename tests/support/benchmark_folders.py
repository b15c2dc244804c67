"""Small benchmark sets written by hand in their outside layouts, and an encoder that sees
nothing but colour.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dcr.models.backbones import Backbone, Preprocessing
from dcr.models.backbones.projection import Projection

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "yellow": (220, 220, 20),
    "purple": (200, 20, 220),
    "cyan": (20, 210, 220),
}


class _Scale(torch.nn.Module):
    """An image tower of one number."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale), requires_grad=False)


class ColourBackbone(torch.nn.Module):
    """Embeds an image as its mean colour and a text as the colour that it names; both centred at
    grey.

    ``image_scale`` 0 makes the constant encoder.
    """

    image_size, embed_dim, logit_scale, logit_bias, device = 8, 3, 100.0, 0.0, torch.device("cpu")
    preprocessing = Preprocessing(8, (0.0,) * 3, (1.0,) * 3, "bicubic", "squash")

    def __init__(self, image_scale: float = 1.0) -> None:
        super().__init__()
        self.tower = _Scale(image_scale)
        self.batch_sizes: list[int] = []

    @property
    def model(self) -> torch.nn.Module:
        return self

    @property
    def visual(self) -> torch.nn.Module:
        return self.tower

    source = "a colour backbone"
    settings = Backbone.settings

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        pixels = np.asarray(image.convert("RGB").resize((8, 8)), dtype=np.float32) / 255
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        self.batch_sizes.append(len(pixels))
        scale = self.tower.scale
        return (pixels.mean(dim=(2, 3)) - 0.5) * scale + (1 - scale)

    def tokenize(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor(
            [[*text.encode()[:60], *[0] * (60 - len(text.encode()[:60]))] for text in texts]
        )

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(text.encode()) for text in texts]

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        named = [next(rgb for name, rgb in COLOURS.items() if name in text) for text in texts]
        return torch.tensor(named, dtype=torch.float32) / 255 - 0.5


class WordsBackbone(ColourBackbone):
    """A colour backbone with a text side of its own: a matrix behind the colours, into which a
    map can be folded.
    """

    def __init__(self, image_scale: float = 1.0) -> None:
        super().__init__(image_scale)
        self.words = torch.nn.Parameter(torch.eye(3), requires_grad=False)

    def text_projection(self) -> Projection:
        return Projection.of(self.words, "words")

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        return super().encode_text(texts) @ self.words


def image_bytes(rgb: tuple[int, int, int], seed: int = 0) -> bytes:
    """Return a PNG of one colour with a little noise."""
    noise = np.random.default_rng(seed).integers(-12, 13, size=(8, 8, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.array(rgb) + noise, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_split(folder: Path, shards: list[dict[str, bytes]]) -> None:
    for index, members in enumerate(shards):
        write_tar(folder / f"{index}.tar", members)
    (folder / "nshards.txt").write_text(f"{len(shards)}\n")


def write_mmvp(
    folder: Path, types: tuple[str, ...] = ("Color and Appearance", "Texts"), pairs: int = 2
) -> Path:
    """Write ``pairs`` pairs of each type; the two statements of a pair name the colours of its
    two images.
    """
    names, number = list(COLOURS), 1
    folder.mkdir(parents=True)
    with open(folder / "Questions.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Question ID", "Type", "Statement"])
        for kind in types:
            (folder / "MLLM_VLM Images" / kind).mkdir(parents=True)
            for index in range(2 * pairs):
                name = names[index % len(names)]
                writer.writerow([number, kind, f"{name}, and nothing else"])
                path = folder / "MLLM_VLM Images" / kind / f"{number}.jpg"
                Image.open(io.BytesIO(image_bytes(COLOURS[name], number))).save(
                    path, "JPEG", quality=95
                )
                number += 1
    return folder


def classification_sample(key: str, label: int, seed: int) -> dict[str, bytes]:
    """Return a sample whose attribute `warm` follows from its colour, as does `class`."""
    rgb = list(COLOURS.values())[label]
    attributes = {"class": label, "warm": int(rgb[0] > 128)}
    return {
        f"{key}.png": image_bytes(rgb, seed),
        f"{key}.cls": str(label).encode(),
        f"{key}.json": json.dumps({"attributes": attributes}).encode(),
    }


def write_classification(folder: Path, per_class: int = 8) -> Path:
    """Write train/ (one shard) and test/ (two shards) with one class a colour."""
    for split, num_shards in (("train", 1), ("test", 2)):
        shards: list[dict[str, bytes]] = [{} for _ in range(num_shards)]
        for index in range(per_class * len(COLOURS)):
            seed = index + (1000 if split == "test" else 0)
            shards[index % num_shards].update(
                classification_sample(f"s{index:07d}", index % len(COLOURS), seed)
            )
        write_split(folder / split, shards)
    (folder / "classnames.txt").write_text("\n".join(COLOURS) + "\n")
    (folder / "zeroshot_classification_templates.txt").write_text(
        "a photo of {c}.\nsomething {c}.\n"
    )
    return folder


def write_retrieval(folder: Path) -> Path:
    """Write test/ with one image a colour and two captions an image."""
    members = {}
    for index, (name, rgb) in enumerate(COLOURS.items()):
        members[f"{index:04d}.png"] = image_bytes(rgb, index)
        members[f"{index:04d}.txt"] = f"a {name} image\nall is {name}\n".encode()
    write_split(folder / "test", [members])
    (folder / "dataset_type.txt").write_text("retrieval\n")
    return folder
