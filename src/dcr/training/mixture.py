"""In which order samples are drawn: of one source, or of several by their weights.

Which sample stands at a place follows from the seed and the place alone, so that a run goes on from
any place, on any number of processes, in the order of an unbroken one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dcr.seeds import numpy_generator

_BLOCK = 4096  # places whose sources are drawn at once


@dataclass(frozen=True)
class Source:
    """Samples that are drawn from together.

    Attributes:
        positions: of the samples, in the latents.
        name: of the source.
        weight: its share of the draws is this over the sum of all sources' weights, > 0.
    """

    positions: Sequence[int]
    name: str = ""
    weight: float = 1.0


class Order:
    """Sample and epoch at each place of an endless order.

    A place's source is drawn by weight, independently of all others. The samples of a source follow
    each other through a fresh permutation every epoch of that source, so that of one source every
    sample is seen equally often. Only the last block and permutations are kept.

    Args:
        sources: one or several.
        seed: of the order.
    """

    def __init__(self, sources: Sequence[Source], seed: int) -> None:
        self._sources = sources
        self._seed = seed
        weights = np.array([source.weight for source in sources], dtype=float)
        self._shares = weights / weights.sum()
        self._permutations = {source.name: (-1, np.empty(0, dtype=int)) for source in sources}
        self._block = -1
        self._drawn = np.empty(0, dtype=int)
        self._counts = np.empty(0, dtype=int)
        self._before = np.zeros(len(sources), dtype=int)  # draws of each source before the block

    def __getitem__(self, place: int) -> tuple[int, int]:
        """Return the sample at ``place``, from 0: its position, and the epoch of its source."""
        number, count = (0, place) if len(self._sources) == 1 else self._draw(place)
        source = self._sources[number]
        epoch, rest = divmod(count, len(source.positions))
        return source.positions[self._permutation(source, epoch)[rest]], epoch

    def _draw(self, place: int) -> tuple[int, int]:
        """Return which source is drawn at ``place``, and how often it was before."""
        block, rest = divmod(place, _BLOCK)
        if block != self._block:
            self._move_to(block)
        return int(self._drawn[rest]), int(self._counts[rest])

    def _move_to(self, block: int) -> None:
        """Draw the sources of a block and count; one behind the last is counted from the start."""
        done = self._block + 1
        if block < done:
            done = 0
            self._before[:] = 0
        elif done:
            self._before += np.bincount(self._drawn, minlength=len(self._sources))
        for number in range(done, block):
            self._before += np.bincount(self._sources_of(number), minlength=len(self._sources))
        self._block, self._drawn = block, self._sources_of(block)
        self._counts = np.empty(_BLOCK, dtype=int)
        for number, before in enumerate(self._before):
            places = np.flatnonzero(self._drawn == number)
            self._counts[places] = before + np.arange(len(places))

    def _sources_of(self, block: int) -> np.ndarray:
        """Return the numbers of the sources at the places of a block, (`_BLOCK`,) int64."""
        generator = numpy_generator(self._seed, "sources", block)
        return generator.choice(len(self._sources), size=_BLOCK, p=self._shares)

    def _permutation(self, source: Source, epoch: int) -> np.ndarray:
        if self._permutations[source.name][0] != epoch:
            own = [source.name] if len(self._sources) > 1 else []
            generator = numpy_generator(self._seed, "order", epoch, *own)
            self._permutations[source.name] = epoch, generator.permutation(len(source.positions))
        return self._permutations[source.name][1]
