"""Folders of one class each, as torchvision's ``ImageFolder`` reads them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dcr.data.benchmark_sets.class_names import (
    CLASS_NAMES,
    describe_class_names,
    match_names,
    order_folders,
    read_class_names,
)
from dcr.data.benchmark_sets.clip_benchmark import TEMPLATES, read_templates
from dcr.data.benchmark_sets.files import IMAGE_EXTENSIONS, Folder
from dcr.data.benchmark_sets.listing import Listing
from dcr.data.benchmark_sets.parts import ClassificationSet, Part, Sample, digest
from dcr.data.benchmark_sets.splits import choose_splits, split_of
from dcr.errors import UserError

logger = logging.getLogger(__name__)

PROMPT = "a photo of a {c}."  # Radford et al., 2021, for sets without templates of their own
_FILES_A_PART = 1000

Images = Mapping[str, list[str]]
"""The image files of each class folder, relative to the set's folder."""


@dataclass(frozen=True)
class FilesPart(Part):
    """Some image files, (path relative to the set's folder, class index) each."""

    name: str
    folder: Folder
    files: tuple[tuple[str, int], ...] = field(repr=False)

    def _hash(self) -> str:
        return digest(f"{name} {label} {self.folder.sha256(name)}" for name, label in self.files)

    def samples(self) -> Iterator[Sample]:
        for name, label in self.files:
            yield Sample(name, self.folder.read_bytes(name), self.folder.place(name), label=label)


def open_class_folders(folder: Folder) -> ClassificationSet:
    """Open ``<split>/<class>/<image>``, or ``<class>/<image>``, a test split.

    Splits are called as `dcr.data.benchmark_sets.splits` knows them, and share their class folders.
    Class names are the lines of ``classnames.txt``, matched by `match_names`, or else the folders'
    names with spaces for underscores; templates are those of
    ``zeroshot_classification_templates.txt``, or else `PROMPT`. What is left out is counted in the
    set's notes; see `Listing`.

    Args:
        folder: a local one.

    Raises:
        UserError: there are no two class folders or no image, or splits or names do not fit
            together.
    """
    listing = Listing(Path(folder.path))
    places = _find_splits(listing)
    images = {split: _images_of_classes(listing, place) for split, place in places.items()}
    _check_same_classes(folder, images)
    classes, names = _name_classes(folder, listing, images)
    splits = {split: _make_parts(folder, found, classes) for split, found in images.items()}
    if not splits["test"]:
        raise UserError(
            f"{folder} is no benchmark set: neither Questions.csv (MMVP-VLM), nor test/0.tar"
            " (CLIP_benchmark), nor <class>/<image> with images of type"
            f" {', '.join(IMAGE_EXTENSIONS)} in its test split"
        )
    if len(classes) < 2:
        raise UserError(
            f"{folder} has a single class folder with images, {classes[0]!r}, but classes are told"
            " apart: name the folder in which the class folders lie"
        )
    notes = [*listing.notes(), *describe_class_names(names)]
    return ClassificationSet(
        folder.name, str(folder), splits, names, _templates(folder), notes=tuple(notes)
    )


def _templates(folder: Folder) -> list[str]:
    if folder.has_file(TEMPLATES):
        return read_templates(folder)
    logger.info("%s has no %s: zero-shot classification asks with %r", folder, TEMPLATES, PROMPT)
    return [PROMPT]


def _find_splits(listing: Listing) -> dict[str, Path]:
    root = listing.root
    names = listing.folders(root)
    of_splits = [name for name in names if split_of(name) is not None]
    if not of_splits:
        return {"test": root}
    others = [name for name in names if name not in of_splits]
    doubtful = [name for name in of_splits if _is_class(listing, root / name)]
    if doubtful or any(listing.has_images(root / name) for name in others):
        beside = f" beside {others[0]}/" if others else ""
        raise UserError(
            f"{root} holds {(doubtful or of_splits)[0]}/{beside}: it cannot be told whether that is"
            " a split or a class; put the class folders into a folder test/, and nothing else"
            " beside it"
        )
    listing.leave_out("folders beside the splits", *others)
    chosen, notes = choose_splits(of_splits, root)
    listing.tell(*notes)
    return {split: root / name for split, name in chosen.items()}


def _is_class(listing: Listing, place: Path) -> bool:
    return listing.has_images(place) and not Listing(listing.root).folders(place)


def _images_of_classes(listing: Listing, place: Path) -> dict[str, list[str]]:
    found = {name: listing.images(place / name) for name in listing.folders(place)}
    for name in found:
        if split_of(name) is not None and found[name] and not listing.has_images(place / name):
            raise UserError(
                f"{place / name} is called like a split and holds folders: a split lies at the"
                " set's top"
            )
    return found


def _check_same_classes(folder: Folder, images: Mapping[str, Images]) -> None:
    classes = set(images["test"])
    for found in images.values():
        if odd := sorted(classes ^ set(found)):
            raise UserError(
                f"{folder}: all splits must have the same class folders, but not all have"
                f" {odd[0]!r}"
            )


def _name_classes(
    folder: Folder, listing: Listing, images: Mapping[str, Images]
) -> tuple[list[str], list[str]]:
    """Return class folders and class names by label.

    A folder without an image is a class only if a line names it.
    """
    everywhere = list(images["test"])
    full = [name for name in everywhere if any(found[name] for found in images.values())]
    if folder.has_file(CLASS_NAMES):
        names = read_class_names(folder)
        folders = everywhere if len(names) == len(everywhere) else full
        classes, names = match_names(folders, names, folder.place(CLASS_NAMES))
    else:
        classes = order_folders(full, folder)
        names = [name.replace("_", " ") for name in classes]
    listing.leave_out("folders without an image", *sorted(set(everywhere) - set(classes)))
    return classes, names


def _make_parts(folder: Folder, images: Images, classes: list[str]) -> list[Part]:
    files = [
        (name, label) for label, class_name in enumerate(classes) for name in images[class_name]
    ]
    return [
        FilesPart(files[at][0], folder, tuple(files[at : at + _FILES_A_PART]))
        for at in range(0, len(files), _FILES_A_PART)
    ]
