"""Images and texts to embeddings, in batches, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from dcr.data.benchmark_sets import Part
from dcr.errors import UserError
from dcr.evaluation.ahead import map_ahead
from dcr.evaluation.cache import EncoderFingerprint, EvaluationCache
from dcr.evaluation.memory import Memory, Words
from dcr.fingerprints import code_hash, fingerprint, json_hash
from dcr.progress import show_progress

if TYPE_CHECKING:
    from PIL import Image

    from dcr.models.backbones import Backbone

Item = TypeVar("Item")


def embed_images(
    backbone: Backbone,
    images: Iterable[Any],
    batch_size: int,
    description: str = "images",
    num_workers: int = 0,
    open_image: Callable[[Any], Image.Image] = lambda image: image,
) -> np.ndarray:
    """Return the image embeddings (N, d), float32, not normalised.

    Memory holds a few batches of images.

    Args:
        backbone: the encoder.
        images: images, or what ``open_image`` makes one of.
        batch_size: images in one pass of the tower.
        description: for the progress bar and for errors.
        num_workers: threads that open and preprocess ahead of the tower; 0 does so between its
            passes.
        open_image: called once for each item of ``images``.
    """

    def prepare(item: Any) -> torch.Tensor:
        """Return the pixels (3, H, H), float32, of one ``item`` of ``images``."""
        return backbone.preprocess(open_image(item))

    pixels = map_ahead(prepare, images, num_workers, ahead=2 * batch_size)
    return _embed_pixels(backbone, pixels, batch_size, description)


def _embed_pixels(
    backbone: Backbone, pixels: Iterable[torch.Tensor], batch_size: int, description: str
) -> np.ndarray:
    def encode(batch: list[torch.Tensor]) -> torch.Tensor:
        """Return embeddings (B, d) of ``batch``: B preprocessed images, (3, H, H) each."""
        return backbone.encode_image(torch.stack(batch).to(backbone.device))

    return _embed(encode, pixels, batch_size, description)


def embed_texts(
    backbone: Backbone, texts: Iterable[str], batch_size: int, description: str = "texts"
) -> np.ndarray:
    """Return the text embeddings (N, d), float32, not normalised.

    Args:
        backbone: the encoder.
        texts: N of them, one at least.
        batch_size: texts in one pass of the tower.
        description: for the progress bar and for errors.

    Raises:
        UserError: there is no text, or an embedding is not finite.
    """
    return _embed(backbone.encode_text, texts, batch_size, description)


def _embed(
    encode: Callable[[list[Item]], torch.Tensor],
    items: Iterable[Item],
    batch_size: int,
    description: str,
) -> np.ndarray:
    items = iter(items)
    parts = []
    with (
        torch.inference_mode(),
        show_progress(desc=description, unit="item", leave=False) as progress,
    ):
        while batch := list(islice(items, batch_size)):
            parts.append(encode(batch).float().cpu().numpy())
            progress.update(len(batch))
    if not parts:
        raise UserError(f"nothing to embed: {description} is empty")
    embeddings = np.concatenate(parts)
    if not np.isfinite(embeddings).all():
        raise UserError(f"the encoder gives NaN or infinity for {description}: train it again")
    return embeddings


class Embedder:
    """One encoder that embeds parts of sets and texts; what the cache holds is not computed again.

    Args:
        backbone: the encoder.
        batch_size, num_workers: see `embed_images`.
        cache: where embeddings are kept; None keeps none.
        memory: shared with the encoders that are evaluated after this one.
    """

    def __init__(
        self,
        backbone: Backbone,
        batch_size: int,
        num_workers: int = 0,
        cache: EvaluationCache | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.backbone = backbone
        self.cache = cache
        self._kept: dict[str, np.ndarray] | None = None
        self._memory = memory
        self.batch_size = batch_size
        self.num_workers = num_workers

    @cached_property
    def fingerprint(self) -> EncoderFingerprint:
        """See `dcr.evaluation.cache.EncoderFingerprint`."""
        return EncoderFingerprint.of(self.backbone)

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Keep the embeddings of all parts that are embedded within this context.

        What asks for them again within it has them, with or without a cache.
        """
        self._kept = {}
        try:
            yield
        finally:
            self._kept = None

    def images(self, part: Part, description: str) -> np.ndarray:
        """Return the embeddings (N, d) of the images of ``part`` in order.

        They are float32, not normalised. ``description`` names them in the progress bar, in errors
        and in the cache's file.
        """

        def compute() -> np.ndarray:
            return _embed_pixels(self.backbone, self.pixels(part), self.batch_size, description)

        return self.once(
            compute,
            f"images: {description}, {part.name}",
            lambda: {"images": part.fingerprint, "reading": code_hash(type(part))},
        )

    def once(
        self,
        compute: Callable[[], np.ndarray],
        description: str,
        depends: Callable[[], dict[str, Any]],
    ) -> np.ndarray:
        """Return a table (N, d), float32, that the image tower alone gives, kept or computed.

        Args:
            compute: returns it.
            description: for the cache's file.
            depends: returns, as plain values, all that it depends on beside the image tower; asked
                only where something is kept.
        """
        if self._kept is None and self.cache is None:
            return compute()
        parts = depends()
        key = json_hash(parts)
        if self._kept is not None and key in self._kept:
            return self._kept[key]
        if self.cache is None:
            made = compute()
        else:
            key_in_cache = fingerprint(encoder=self.fingerprint.images, **parts)
            made = self.cache.embeddings(key_in_cache, compute, description)
        if self._kept is not None:
            self._kept[key] = made
        return made

    def pixels(self, part: Part) -> Iterator[torch.Tensor]:
        """Yield the preprocessed images (3, H, H) of ``part``, float32 in [0, 1]."""
        return self.prepared(part, lambda sample: self.backbone.preprocess(sample.image), "pixels")

    def prepared(
        self, part: Part, prepare: Callable[[Any], torch.Tensor], what: str
    ) -> Iterator[torch.Tensor]:
        """Yield what is made of each sample of ``part`` for the tower, by threads ahead of it.

        Args:
            part: of a set.
            prepare: makes it of a sample; it depends on the tower's preprocessing alone.
            what: it is, in a word: other encoders of one preprocessing share it in memory.
        """

        def read() -> Iterator[torch.Tensor]:
            ahead = 2 * self.batch_size
            return map_ahead(prepare, part.samples(), self.num_workers, ahead)

        if self._memory is None:
            return read()
        return self._memory.pixels((part.fingerprint, self.backbone.preprocessing, what), read)

    def words(self, key: Hashable, read: Callable[[], Words]) -> Words:
        """Return what ``read`` reads of a set beside its images, once for each ``key``.

        See `Memory.words`.
        """
        return self._memory.words(key, read) if self._memory else read()

    def split(self, parts: Iterable[Part], description: str) -> np.ndarray:
        """Return the embeddings (N, d) of all ``parts``, one after the other.

        ``description`` is as in `images`.
        """
        shown = show_progress(parts, desc=f"embed {description}", unit="part", leave=False)
        return np.concatenate([self.images(part, description) for part in shown])

    def texts(self, texts: list[str], description: str) -> np.ndarray:
        """Return the embeddings (N, d), float32, not normalised, of ``texts``.

        ``description`` is as in `images`.
        """

        def compute() -> np.ndarray:
            return embed_texts(self.backbone, texts, self.batch_size, description)

        if self.cache is None:
            return compute()
        tokens = hashlib.sha256(self.backbone.tokenize(texts).numpy().data).hexdigest()
        key = fingerprint(encoder=self.fingerprint.texts, tokens=tokens)
        return self.cache.embeddings(key, compute, f"texts: {description}")
