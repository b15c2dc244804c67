"""Folders of one class each, as torchvision's ``ImageFolder`` reads them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dcr.benchmark_sets.clip_benchmark import CLASS_NAMES, TEMPLATES, read_templates
from dcr.benchmark_sets.files import IMAGE_EXTENSIONS, Folder
from dcr.benchmark_sets.parts import ClassificationSet, Part, Sample, digest
from dcr.errors import UserError

logger = logging.getLogger(__name__)

PROMPT = "a photo of a {c}."  # Radford et al., 2021, for sets without templates of their own
_SPLITS = {"train": ("train",), "test": ("test", "val")}
_FILES_A_PART = 1000


@dataclass(frozen=True)
class FilesPart(Part):
    """Some image files, (path relative to the set's folder, class index) each."""

    folder: Folder
    files: tuple[tuple[str, int], ...] = field(repr=False)

    @property
    def name(self) -> str:
        return self.files[0][0]

    def _hash(self) -> str:
        return digest(f"{name} {label} {self.folder.sha256(name)}" for name, label in self.files)

    def samples(self) -> Iterator[Sample]:
        for name, label in self.files:
            yield Sample(name, self.folder.read_bytes(name), self.folder.place(name), label=label)


def open_class_folders(folder: Folder) -> ClassificationSet:
    """Open ``<split>/<class>/<image>``, splits ``train`` and ``test`` or ``val``; or ``<class>/<image>``, a test split.

    Class indices follow the sorted names of the class folders, which every split must share. Class names are the lines
    of ``classnames.txt``, in that order, or else the folders' names with spaces for underscores; templates are those
    of ``zeroshot_classification_templates.txt``, or else `PROMPT`. Links are not followed.

    Raises:
        UserError: there is no class folder or no image, or splits or names do not fit together.
    """
    root = Path(folder.path)
    places = {split: next((root / n for n in names if (root / n).is_dir()), None) for split, names in _SPLITS.items()}
    if not any(places.values()):
        places = {"test": root}
    if places["test"] is None:
        raise UserError(f"{folder} has a train split alone: scores need test/ or val/ beside it")
    places = {split: place for split, place in places.items() if place is not None}
    classes = _class_folders(places["test"])
    for place in places.values():
        if (there := _class_folders(place)) != classes:
            odd = sorted(set(there) ^ set(classes))[0]
            raise UserError(f"{folder}: all splits must have the same class folders, but not all have {odd!r}")
    splits = {split: _list_files(folder, place, classes) for split, place in places.items()}
    return ClassificationSet(folder.name, str(folder), splits, _class_names(folder, classes), _templates(folder))


def _templates(folder: Folder) -> list[str]:
    if folder.has_file(TEMPLATES):
        return read_templates(folder)
    logger.info("%s has no %s: zero-shot classification asks with %r", folder, TEMPLATES, PROMPT)
    return [PROMPT]


def _class_folders(place: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(place) if _is_own(entry, folder=True))


def _is_own(entry: os.DirEntry, folder: bool) -> bool:
    own = entry.is_dir(follow_symlinks=False) if folder else entry.is_file(follow_symlinks=False)
    return own and not entry.name.startswith(".")


def _class_names(folder: Folder, classes: list[str]) -> list[str]:
    if not folder.has_file(CLASS_NAMES):
        return [name.replace("_", " ") for name in classes]
    names = folder.read_lines(CLASS_NAMES)
    if len(names) != len(classes):
        raise UserError(
            f"{folder.place(CLASS_NAMES)} has {len(names)} lines, but there are {len(classes)} class folders"
        )
    return names


def _list_files(folder: Folder, place: Path, classes: list[str]) -> list[Part]:
    files = [
        (name, label)
        for label, class_name in enumerate(classes)
        for name in sorted(_images_below(place / class_name, Path(folder.path)))
    ]
    if not files:
        raise UserError(
            f"{place} is no benchmark set: neither Questions.csv (MMVP-VLM), nor test/0.tar (CLIP_benchmark), nor"
            f" <class>/<image> with images of type {', '.join(IMAGE_EXTENSIONS)}"
        )
    return [FilesPart(folder, tuple(files[at : at + _FILES_A_PART])) for at in range(0, len(files), _FILES_A_PART)]


def _images_below(class_folder: Path, root: Path) -> Iterator[str]:
    for place, folders, _ in os.walk(class_folder):
        folders.sort()
        for entry in os.scandir(place):
            if _is_own(entry, folder=False) and entry.name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS:
                yield Path(entry.path).relative_to(root).as_posix()
