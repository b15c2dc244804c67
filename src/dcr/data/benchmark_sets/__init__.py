"""Benchmark sets in their outside layouts.

They are MMVP-VLM's folder, CLIP_benchmark's WebDataset folders, class folders, those of caption
selection, Pascal VOC's, and tasks of mteb.

Sets are opened with all that can be checked without reading images, then streamed: memory holds one
sample. Nothing is unpickled, and no name in a file leads out of the set's folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dcr.data.benchmark_sets.building import build_mmvp, build_retrieval
from dcr.data.benchmark_sets.building_masks import build_segmentation
from dcr.data.benchmark_sets.caption_selection import (
    CaptionSelectionSet,
    Group,
    find_caption_selection,
    open_mmvp_pairs,
    open_web_dataset,
    write_jsonl,
)
from dcr.data.benchmark_sets.choosing import (
    KINDS,
    OVERRIDES,
    BenchmarkSet,
    NamedSet,
    choose_sets,
    with_overrides,
)
from dcr.data.benchmark_sets.class_folders import open_class_folders
from dcr.data.benchmark_sets.clip_benchmark import is_clip_benchmark, kind_of, open_clip_benchmark
from dcr.data.benchmark_sets.converting import write_clip_benchmark
from dcr.data.benchmark_sets.files import Folder
from dcr.data.benchmark_sets.masks import MaskedSample
from dcr.data.benchmark_sets.mieb import MiebSet, open_mieb
from dcr.data.benchmark_sets.mmvp_vlm import MMVPSet, Pair, open_mmvp
from dcr.data.benchmark_sets.overrides import read_overrides
from dcr.data.benchmark_sets.parts import ClassificationSet, Part, RetrievalSet, Sample
from dcr.data.benchmark_sets.segmentation import SegmentationSet, is_voc, open_voc
from dcr.errors import UserError

__all__ = [
    "KINDS",
    "OVERRIDES",
    "BenchmarkSet",
    "CaptionSelectionSet",
    "ClassificationSet",
    "Group",
    "MMVPSet",
    "MaskedSample",
    "MiebSet",
    "NamedSet",
    "Pair",
    "Part",
    "RetrievalSet",
    "Sample",
    "SegmentationSet",
    "build_mmvp",
    "build_retrieval",
    "build_segmentation",
    "choose_sets",
    "make_set",
    "open_set",
    "with_overrides",
    "write_clip_benchmark",
]

logger = logging.getLogger(__name__)

_MARKS = {
    "mmvp_vlm": "an MMVP-VLM folder holds Questions.csv",
    "classification": (
        "one of that kind holds class folders, or tars with .cls members and a classnames.txt"
    ),
    "retrieval": (
        "one of that kind holds tars with .txt members, and dataset_type.txt that says retrieval"
    ),
    "caption_selection": (
        "one of that kind holds groups.jsonl, the files of SugarCrepe, SugarCrepe++, ARO, What'sUp"
        " or Winoground, Questions.csv, or tars with .txt members"
    ),
    "segmentation": (
        "one of that kind holds JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/ with"
        " train.txt and val.txt"
    ),
}


def open_set(
    location: str | Path, name: str | None = None, kind: str | None = None
) -> BenchmarkSet:
    """Open a benchmark set by its layout.

    It is that of ``Questions.csv``, CLIP_benchmark's files, VOC's, or one folder a class.

    Args:
        location: a local folder, or for CLIP_benchmark's layout any fsspec URL.
        name: what records call the set; its folder's name by default.
        kind: that it must be, one of `KINDS`; any by default.
    """
    if kind == "mieb":
        return open_mieb(str(location), name)
    folder = Folder(str(location))
    if folder.is_local and not folder.has_folder():
        raise UserError(f"no benchmark set at {folder}: the folder does not exist")
    opener, found = _find_layout(folder, kind)
    if kind is not None and kind != found:
        raise UserError(
            f"{folder} is a set of kind {found}, but the recipe says {kind}; {_MARKS[kind]}"
        )
    benchmark_set = opener(folder)
    if folder.is_local:
        benchmark_set = replace(benchmark_set, overrides=read_overrides(folder))
    for note in benchmark_set.notes:
        logger.warning("%s: %s", folder, note)
    return benchmark_set if name is None else replace(benchmark_set, name=name)


def make_set(kind: str, source: Path, target: Path, templates: Sequence[str] = ()) -> None:
    """Write a set of a kind from plain folders of images, or from a set of another layout.

    See `write_clip_benchmark`, `build_retrieval`, `build_mmvp`, `build_segmentation` and
    `write_jsonl`.

    Args:
        kind: one of `KINDS`, but ``mieb``.
        source: the folder to read; what must lie in it depends on the kind.
        target: the set's folder, which must not exist yet.
        templates: of a classification set's prompts, with ``{c}``; its own by default.
    """
    if templates and kind != "classification":
        raise UserError(f"--template is for classification sets, but --kind is {kind}")
    builders = {
        "retrieval": build_retrieval,
        "mmvp_vlm": build_mmvp,
        "segmentation": build_segmentation,
    }
    if kind in builders:
        builders[kind](source, target)
        return
    opened = open_set(source, kind=kind)
    if isinstance(opened, CaptionSelectionSet):
        write_jsonl(opened, target)
    elif isinstance(opened, ClassificationSet):
        write_clip_benchmark(opened, target, templates)


def _find_layout(folder: Folder, kind: str | None) -> tuple[Callable[[Folder], BenchmarkSet], str]:
    """Return what opens the folder, and the kind of set that it holds.

    MMVP-VLM's folder, and tars of images and captions, are of caption selection only where ``kind``
    says so.
    """
    if kind == "caption_selection" and (shared := _find_shared(folder)):
        return shared, kind
    if folder.is_local and folder.has_file("Questions.csv"):
        return open_mmvp, "mmvp_vlm"
    if not folder.is_local or is_clip_benchmark(folder):
        found = kind_of(folder)
        return (open_web_dataset if found == "caption_selection" else open_clip_benchmark), found
    if opener := find_caption_selection(folder):
        return opener, "caption_selection"
    if is_voc(folder):
        return open_voc, "segmentation"
    return open_class_folders, "classification"


def _find_shared(folder: Folder) -> Callable[[Folder], BenchmarkSet] | None:
    """Return what opens a folder of another kind as caption selection."""
    if folder.is_local and folder.has_file("Questions.csv"):
        return open_mmvp_pairs
    if (not folder.is_local or is_clip_benchmark(folder)) and kind_of(folder) == "retrieval":
        return open_web_dataset
    return None
