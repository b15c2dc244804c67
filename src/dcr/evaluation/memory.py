"""What encoders evaluated one after the other read alike, so that it is read and decoded once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

# Of all parts together: 512 MiB, a set of 40 000 images at 32 px or of 890 at 224 px.
_PIXEL_BYTES = 1 << 29

Words = TypeVar("Words")


class Memory:
    """Pixels and words of sets, kept for several encoders; what does not fit is read anew."""

    def __init__(self) -> None:
        self._pixels: dict[Hashable, list[torch.Tensor]] = {}
        self._words: dict[Hashable, Any] = {}
        self._room = _PIXEL_BYTES

    def pixels(
        self, key: Hashable, read: Callable[[], Iterable[torch.Tensor]]
    ) -> Iterator[torch.Tensor]:
        """Yield preprocessed images (3, H, H), float32, kept under ``key`` or else of ``read``.

        Args:
            key: of all that they depend on: the images and their preprocessing.
            read: yields them; kept are those of a whole part alone, and only where they fit.
        """
        if key in self._pixels:
            yield from self._pixels[key]
            return
        kept: list[torch.Tensor] = []
        size = 0
        for image in read():
            size += image.nbytes
            if size <= self._room:
                kept.append(image)
            else:
                kept.clear()
            yield image
        if size <= self._room:
            self._room -= size
            self._pixels[key] = kept

    def words(self, key: Hashable, read: Callable[[], Words]) -> Words:
        """Return what ``read`` returned under ``key`` before, or returns now.

        It is names, labels or captions.
        """
        if key not in self._words:
            self._words[key] = read()
        words: Words = self._words[key]
        return words
