"""Data of mteb's tasks in small, in the layout of their repositories on the hub: colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark_folders import COLOURS, image_bytes

datasets = pytest.importorskip("datasets", reason="install the extra `mieb`")

NAMES = list(COLOURS)


def picture(number: int) -> dict[str, Any]:
    """Return a noisy picture of a colour; its class is that of the number."""
    return {"bytes": image_bytes(COLOURS[NAMES[number % 6]], number), "path": None}


def write_zero_shot(folder: Path, number: int = 30, labels: list[int] | None = None) -> Path:
    """Write CIFAR10ZeroShot's data with six colours for classes."""
    place = folder / "CIFAR10ZeroShot" / "data"
    place.mkdir(parents=True)
    kinds = {"img": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    rows = {
        "img": [picture(index) for index in range(number)],
        "label": labels or [index % 6 for index in range(number)],
    }
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    table.to_parquet(place / "test-00000-of-00001.parquet")
    return place.parent


def write_winoground(folder: Path, number: int = 12) -> Path:
    """Write Winoground's data: two colours, and captions that name them."""
    place = folder / "Winoground"
    place.mkdir(parents=True)
    kinds = {name: datasets.Image() for name in ("image_0", "image_1")}
    kinds |= {name: datasets.Value("string") for name in ("caption_0", "caption_1", "tag")}
    other = [(index + 1 + index % 3) % 6 for index in range(number)]
    rows = {
        "image_0": [picture(index) for index in range(number)],
        "image_1": [picture(index) for index in other],
        "caption_0": [f"it is {NAMES[index % 6]} {index}" for index in range(number)],
        "caption_1": [f"it is {NAMES[index]} {index}" for index in other],
        "tag": ["Object"] * number,
    }
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    table = table.rename_column("tag", "collapsed_tag")
    table.to_parquet(place / "test-00000-of-00001.parquet")
    return place


def write_clustering(folder: Path, number: int = 60) -> Path:
    """Write CIFAR10Clustering's data."""
    place = folder / "CIFAR10Clustering"
    place.mkdir(parents=True)
    kinds = {"img": datasets.Image(), "label": datasets.Value("int64")}
    rows = {
        "img": [picture(index) for index in range(number)],
        "label": [index % 6 for index in range(number)],
    }
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    table.to_parquet(place / "test-00000-of-00001.parquet")
    return place


def write_classification(folder: Path, number: int = 60) -> Path:
    """Write the data of CIFAR10's linear probe."""
    place = folder / "CIFAR10"
    place.mkdir(parents=True)
    kinds = {"img": datasets.Image(), "label": datasets.Value("int64")}
    for split, first in (("train", 0), ("test", 600)):
        rows = {
            "img": [picture(first + index) for index in range(number)],
            "label": [(index + index % 5 // 4) % 6 for index in range(number)],  # a fifth is wrong
        }
        table = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
        table.to_parquet(place / f"{split}-00000-of-00001.parquet")
    return place


def captions_of(number: int, num_ties: int) -> list[tuple[str, str]]:
    """Return the right and the wrong caption of each picture, of which the first are the same."""
    return [
        (f"it is {NAMES[index % 6]}", f"it is {NAMES[(index + (index >= num_ties)) % 6]}")
        for index in range(number)
    ]


def write_sugar_crepe(folder: Path, number: int, num_ties: int) -> Path:
    """Write SugarCrepe's data; see `captions_of`."""
    place = folder / "SugarCrepe"
    place.mkdir(parents=True)
    texts = ("caption", "negative_caption")
    kinds = {"images": datasets.Image()} | {name: datasets.Value("string") for name in texts}
    rows: dict[str, Any] = {"images": [picture(index) for index in range(number)]}
    rows |= dict(zip(texts, zip(*captions_of(number, num_ties), strict=True), strict=True))
    rows |= {name: list(rows[name]) for name in texts}
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    table.to_parquet(place / "test-00000-of-00001.parquet")
    return place
