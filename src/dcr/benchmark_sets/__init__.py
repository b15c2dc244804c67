"""Benchmark sets in their outside layouts: MMVP-VLM's folder, and CLIP_benchmark's WebDataset folders.

Sets are opened with all that can be checked without reading images, then streamed: memory holds one sample.
Nothing is unpickled, and no name in a file leads out of the set's folder.
"""

from __future__ import annotations

from pathlib import Path

from dcr.benchmark_sets.clip_benchmark import ClassificationSet, RetrievalSet, Sample, open_clip_benchmark
from dcr.benchmark_sets.mmvp_vlm import MMVPSet, Pair, open_mmvp
from dcr.errors import UserError

__all__ = ["BenchmarkSet", "ClassificationSet", "MMVPSet", "Pair", "RetrievalSet", "Sample", "open_set"]

BenchmarkSet = MMVPSet | ClassificationSet | RetrievalSet


def open_set(folder: str | Path) -> BenchmarkSet:
    """Open a benchmark set by its layout: ``Questions.csv``, or CLIP_benchmark's files."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no benchmark set at {folder}: the folder does not exist")
    if (folder / "Questions.csv").exists():
        return open_mmvp(folder)
    return open_clip_benchmark(folder)
