"""Segmentation sets in Pascal VOC's layout from folders of images and masks."""

from __future__ import annotations

import os
from pathlib import Path

from dcr.data.benchmark_sets.building import check_new, open_source
from dcr.data.benchmark_sets.class_names import CLASS_NAMES
from dcr.data.benchmark_sets.converting import write_lines
from dcr.data.benchmark_sets.files import IMAGE_EXTENSIONS, Folder
from dcr.data.benchmark_sets.masks import MaskedSample
from dcr.data.benchmark_sets.segmentation import IMAGES, LISTS, MASKS
from dcr.data.benchmark_sets.splits import split_of
from dcr.errors import UserError
from dcr.files import atomic_folder
from dcr.progress import show_progress

_LISTS = {"train": "train", "test": "val", "validation": "val"}


def build_segmentation(source: Path, target: Path) -> None:
    """Write images with masks in Pascal VOC's layout, whole or not at all; files keep their bytes.

    Args:
        source: a folder with ``images/<split>/<name>.jpg`` (or another of `IMAGE_EXTENSIONS`) and
            ``masks/<split>/<name>.png``, for a train split and a test or validation split, and
            ``classnames.txt`` if there is one.
        target: a folder that must not exist yet.

    Raises:
        UserError: a split is missing, doubled or empty, a mask is missing, or one of the two files
            cannot be read.
    """
    check_new(target)
    folder = open_source(source)
    splits = _find_splits(source)
    with atomic_folder(target) as place:
        for own in (IMAGES, MASKS, LISTS):
            (place / own).mkdir(parents=True)
        if folder.has_file(CLASS_NAMES):
            (place / CLASS_NAMES).write_bytes(folder.read_bytes(CLASS_NAMES))
        for name, split in splits.items():
            written = _write_split(folder, split, name, place)
            write_lines(place / LISTS / f"{name}.txt", written)


def _find_splits(source: Path) -> dict[str, str]:
    """Return by list, ``train`` and ``val``, the folder in ``images`` that it is made of."""
    found: dict[str, str] = {}
    images = source / "images"
    names = sorted(entry.name for entry in os.scandir(images)) if images.is_dir() else []
    for name in names:
        own = _LISTS.get(split_of(name) or "")
        if own in found:
            raise UserError(
                f"{images}: {found[own]}/ and {name}/ are both of {own}.txt: leave one of them"
            )
        if own is not None:
            found[own] = name
    if set(found) != {"train", "val"}:
        raise UserError(f"{source} needs images/train/ and images/val/, and masks/ with the same")
    return found


def _write_split(folder: Folder, split: str, prefix: str, place: Path) -> list[str]:
    """Write one split, and return the names of its images, told apart from those of the other."""
    images = [
        name
        for extension in IMAGE_EXTENSIONS
        for name in folder.files(f"images/{split}", extension)
    ]
    if not images:
        raise UserError(f"{folder.place(f'images/{split}')} has no image")
    written = []
    for name in show_progress(sorted(images), desc=f"write {split}", unit="image"):
        stem, extension = os.path.splitext(os.path.basename(name))
        mask = f"masks/{split}/{stem}.png"
        sample = MaskedSample(
            stem,
            folder.read_bytes(name),
            folder.place(name),
            mask=folder.read_bytes(mask),
            mask_where=folder.place(mask),
        )
        sample.classes  # noqa: B018  refuses what cannot be read
        own = f"{prefix}_{stem}"
        if own in written:
            raise UserError(f"{folder.place(f'images/{split}')} has two images {stem!r}")
        (place / IMAGES / f"{own}{extension.lower()}").write_bytes(sample.content)
        (place / MASKS / f"{own}.png").write_bytes(sample.mask)
        written.append(own)
    return written
