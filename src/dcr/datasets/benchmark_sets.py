"""Kedro dataset for a benchmark set in an outside layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dcr.datasets.folders import FolderDataset

if TYPE_CHECKING:
    from dcr.benchmark_sets import BenchmarkSet


class BenchmarkSetDataset(FolderDataset):
    """An MMVP-VLM folder, or a classification or retrieval set in CLIP_benchmark's layout.

    ``load`` returns a function that opens the set, so that a recipe which evaluates only some of the sets needs no
    folder for the others. ``save`` takes a function that fills the folder.

    YAML example:

        mmvp_vlm:
          type: dcr.datasets.benchmark_sets.BenchmarkSetDataset
          filepath: data/01_raw/demo/sets/mmvp_vlm
          made_by: kedro run --pipelines scenes

    Python example:
        >>> BenchmarkSetDataset(filepath="sets/mmvp_vlm", made_by="...").load()().pairs[0].ids
        (1, 2)
    """

    def load(self) -> Callable[[], BenchmarkSet]:
        return self._open

    def _open(self) -> BenchmarkSet:
        from dcr.benchmark_sets import open_set

        return open_set(self.require())
