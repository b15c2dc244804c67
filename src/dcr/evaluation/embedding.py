"""Images and texts to embeddings, in batches, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from dcr.benchmark_sets import ClassificationSet, Sample
from dcr.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

    from dcr.backbones import Backbone


@dataclass(frozen=True)
class LabelledFeatures:
    """Embeddings (N, d) of one split with their keys, labels (N,) and attributes, (N,) by name."""

    embeddings: np.ndarray
    keys: list[str]
    labels: np.ndarray
    attributes: dict[str, np.ndarray]


def embed_images(
    backbone: Backbone, images: Iterable[Image.Image], batch_size: int, description: str = "images"
) -> np.ndarray:
    """Return the image embeddings (N, d), float32, not normalised; memory holds one batch of images."""

    def encode(batch: list[Image.Image]) -> torch.Tensor:
        pixels = torch.stack([backbone.preprocess(image) for image in batch])
        return backbone.encode_image(pixels.to(backbone.device))

    return _embed(encode, images, batch_size, description)


def embed_texts(backbone: Backbone, texts: Iterable[str], batch_size: int, description: str = "texts") -> np.ndarray:
    """Return the text embeddings (N, d), float32, not normalised."""
    return _embed(backbone.encode_text, texts, batch_size, description)


def _embed(encode: Callable[[list], torch.Tensor], items: Iterable, batch_size: int, description: str) -> np.ndarray:
    items, parts = iter(items), []
    with torch.inference_mode(), tqdm(desc=description, unit="", unit_scale=True, leave=False) as progress:
        while batch := list(islice(items, batch_size)):
            parts.append(encode(batch).float().cpu().numpy())
            progress.update(len(batch))
    if not parts:
        raise UserError(f"nothing to embed: {description} is empty")
    embeddings = np.concatenate(parts)
    if not np.isfinite(embeddings).all():
        raise UserError(f"the encoder gives NaN or infinity for {description}: train it again")
    return embeddings


def embed_split(backbone: Backbone, dataset: ClassificationSet, split: str, batch_size: int) -> LabelledFeatures:
    """Return the embeddings of one split with its labels and attributes."""
    kept: list[Sample] = []
    description = f"{dataset.name} {split}"
    embeddings = embed_images(backbone, images_of(dataset.samples(split), kept), batch_size, description)
    names = list(kept[0].attributes or {})
    for sample in kept:
        if set(sample.attributes or {}) != set(names):
            raise UserError(
                f"{dataset.folder / split}: samples {kept[0].key!r} and {sample.key!r} name different"
                " attributes, but probes need the same in every sample"
            )
    return LabelledFeatures(
        embeddings,
        keys=[sample.key for sample in kept],
        labels=np.array([sample.label for sample in kept]),
        attributes={name: np.array([sample.attributes[name] for sample in kept]) for name in names},
    )


def images_of(samples: Iterable[Sample], kept: list[Sample]) -> Iterator[Image.Image]:
    """Yield each sample's image and keep the rest of it: no more than a batch of images is in memory."""
    for sample in samples:
        kept.append(replace(sample, image=None))
        yield sample.image
