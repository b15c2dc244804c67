"""What benchmark sets are made of: samples, in parts that are read, hashed and embedded singly."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from dcr.data.benchmark_sets.files import decode_image
from dcr.data.benchmark_sets.overrides import NO_OVERRIDES, Overrides
from dcr.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[int, int, int, int]
"""Left, top, width and height of a part of an image, in pixels of the upright image."""


@dataclass(frozen=True)
class Sample:
    """One sample: its encoded image, and ``label`` and ``attributes`` or ``captions``.

    ``where`` is for messages. Of an image with a ``box`` only what lies in it is seen.
    """

    key: str
    content: bytes
    where: str
    label: int = -1
    attributes: dict[str, int | str] | None = None
    captions: tuple[str, ...] = ()
    box: Box | None = None

    @property
    def image(self) -> Image.Image:
        """The image as RGB, decoded anew at every call; UserError if it is broken."""
        image = decode_image(self.content, self.where)
        return image if self.box is None else _crop(image, self.box, self.where)


def _crop(image: Image.Image, box: Box, where: str) -> Image.Image:
    """Return what lies in ``box``, black where it reaches beyond the image, as in ARO's reader."""
    left, top, width, height = box
    overlaps = -width < left < image.width and -height < top < image.height
    if not overlaps or width > 2 * image.width or height > 2 * image.height:
        raise UserError(
            f"the box {list(box)} (left, top, width, height) of {where} lies outside of the image,"
            f" which has {image.width} x {image.height} pixels"
        )
    return image.crop((left, top, left + width, top + height))


class Part(ABC):
    """Samples that come in one order and have one fingerprint.

    They are a tar, or some hundred files of a folder.
    """

    name: str

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 over everything that the samples hold, computed once."""
        return self._hash()

    @abstractmethod
    def _hash(self) -> str: ...

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """Yield the samples; memory holds one."""


@dataclass(frozen=True)
class SplitSet:
    """A set whose splits, by name, are lists of parts.

    Attributes:
        name: what records call it.
        folder: where it is.
        splits: its parts by the name of the split.
        notes: sentences on what was left out of it.
        overrides: of its items, those of the test split.
        is_overridden: whether scores are of the set as its overrides change it.
    """

    name: str
    folder: str
    splits: Mapping[str, Sequence[Part]]
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    overrides: Overrides = field(default=NO_OVERRIDES, kw_only=True)
    is_overridden: bool = field(default=False, kw_only=True)

    def has_split(self, split: str) -> bool:
        """Tell whether the set has ``split``, ``train`` or ``test``."""
        return split in self.splits

    def samples(self, split: str) -> Iterator[Sample]:
        """Yield the samples of all parts of ``split``, in order."""
        return chain.from_iterable(part.samples() for part in self.splits[split])

    @property
    def tested(self) -> Sequence[Part]:
        """The parts that scores are computed on."""
        return self.splits["test"]

    @property
    def fingerprint(self) -> str:
        """Hex sha256 over all samples, in their order, and over what scores need beside them."""
        parts = [
            f"{split} {part.fingerprint}" for split, parts in self.splits.items() for part in parts
        ]
        return digest([*parts, *self._words()])

    def _words(self) -> Sequence[str]:
        return ()


@dataclass(frozen=True)
class ClassificationSet(SplitSet):
    """Images with class indices; ``templates`` hold ``{c}`` where the class name goes."""

    class_names: list[str]
    templates: list[str]

    def _words(self) -> Sequence[str]:
        return [*self.class_names, "", *self.templates]


@dataclass(frozen=True)
class RetrievalSet(SplitSet):
    """Images with captions."""


def digest(words: Iterable[str]) -> str:
    """Return the hex sha256 of some words, one a line."""
    return hashlib.sha256("".join(f"{word}\n" for word in words).encode()).hexdigest()
