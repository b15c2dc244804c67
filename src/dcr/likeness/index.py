"""Unit vectors looked up by their nearest, by faiss: an inverted file of cells, each vector a half.

A query is compared with the centres of all cells and with the vectors of the nearest few. With
about 2 sqrt(N) cells that is sqrt(N) work a query, N^1.5 for all, and memory is 2 d + 8 bytes a
vector. What is found is exact; what lies in other cells is missed (`benchmarks/likeness.py` counts
how often). Johnson, Douze, Jégou, "Billion-scale similarity search with GPUs", 2017.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dcr.extras import needs_extra

SAMPLE_PER_CELL = 40  # vectors from which a cell's centre is learnt; faiss asks for 39
_PROBES = 8  # cells that a query looks into
_FEW = 4096  # vectors up to which all are compared with all


def num_cells(count: int) -> int:
    """Return into how many cells ``count`` vectors are sorted."""
    return 1 if count <= _FEW else round(2 * math.sqrt(count))


class VectorIndex:
    """Vectors by their place, to be found by inner product.

    Args:
        sample: (S, d) float32 unit vectors like those that are added, of which the cells are
            learnt; the same sample gives the same cells, and none gives one cell for all.
        count: vectors that will be added, about.

    Raises:
        UserError: faiss is not installed.
    """

    def __init__(self, sample: np.ndarray, count: int) -> None:
        faiss = _import_faiss()
        width = sample.shape[1]
        cells = min(num_cells(count), max(1, len(sample) // SAMPLE_PER_CELL))
        self._centres = faiss.IndexFlatIP(width)  # faiss does not keep it
        self._index = faiss.IndexIVFScalarQuantizer(
            self._centres,
            width,
            cells,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,
        )
        self._index.train(sample if len(sample) else np.zeros((1, width), np.float32))
        self._index.nprobe = min(cells, _PROBES)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: np.ndarray, places: np.ndarray) -> None:
        """Add unit vectors (N, d) float32 under ``places``, (N,) int64."""
        self._index.add_with_ids(np.ascontiguousarray(vectors), places)

    def nearest(self, vectors: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return the similarities and places, (N, count) each, of the nearest, best first.

        Where there are fewer, places are -1 and similarities far below -1.

        Args:
            vectors: (N, d) float32 unit vectors.
            count: how many to find.
        """
        similarities, places = self._index.search(np.ascontiguousarray(vectors), count)
        return similarities, places


def faiss_version() -> str:
    """Return the version of faiss, which decides what is found; UserError without it."""
    return str(_import_faiss().__version__)


def _import_faiss() -> Any:
    with needs_extra("likeness", "the index of pipeline likeness"):
        import faiss
    return faiss
