"""Images with masks of classes, in Pascal VOC's layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dcr.data.benchmark_sets.class_names import CLASS_NAMES, read_class_names
from dcr.data.benchmark_sets.files import IMAGE_EXTENSIONS, Folder, split_lines
from dcr.data.benchmark_sets.inside import check_file, check_path, tell_links
from dcr.data.benchmark_sets.masks import MaskedSample
from dcr.data.benchmark_sets.parts import Part, SplitSet, digest
from dcr.errors import UserError
from dcr.metrics.segmentation import IGNORED

IMAGES = "JPEGImages"
MASKS = "SegmentationClass"
LISTS = "ImageSets/Segmentation"
_SPLITS = {"train": "train.txt", "test": "val.txt"}  # scores are computed on val, as published ones
_MAX_BYTES = 64 << 20  # of a list; VOC's have 15 KiB
_FILES_A_PART = 1000


@dataclass(frozen=True)
class MaskedImage:
    """An image and its mask: the name in its list, and both files' paths in the set's folder."""

    name: str
    image: str
    mask: str


@dataclass(frozen=True)
class MaskedImagesPart(Part):
    """Some images with their masks."""

    name: str
    folder: Folder = field(repr=False)
    files: tuple[MaskedImage, ...] = field(repr=False)

    def _hash(self) -> str:
        sha256 = self.folder.sha256
        return digest(f"{one.name} {sha256(one.image)} {sha256(one.mask)}" for one in self.files)

    def samples(self) -> Iterator[MaskedSample]:
        for one in self.files:
            yield MaskedSample(
                one.name,
                self.folder.read_bytes(one.image),
                self.folder.place(one.image),
                mask=self.folder.read_bytes(one.mask),
                mask_where=self.folder.place(one.mask),
            )


@dataclass(frozen=True)
class SegmentationSet(SplitSet):
    """Images with a class for every pixel.

    Attributes:
        splits: ``train``, on which readers of features are fitted, and ``test``.
        class_names: by class index; () where no file names them.
    """

    splits: Mapping[str, Sequence[MaskedImagesPart]]
    class_names: tuple[str, ...] = ()

    def names(self, split: str) -> list[str]:
        """Return the names of the images of ``split``, in order."""
        return [one.name for part in self.splits[split] for one in part.files]

    def read_classes(self) -> list[str]:
        """Return the name of each class, by its index; a number where no file names it.

        Every mask is read, so that a broken one is told before a tower has worked.

        Raises:
            UserError: a mask is broken or of a class without a name; no pixel of a split counts; or
                there is one class alone.
        """
        largest = 0
        for split in self.splits:
            found = [
                self._largest(sample) for part in self.splits[split] for sample in part.samples()
            ]
            if max(found) < 0:
                raise UserError(
                    f"{self.folder}/{LISTS}/{_SPLITS[split]}: no mask has a pixel of a class, all"
                    f" are {IGNORED}, which counts nowhere"
                )
            largest = max(largest, *found)
        if largest == 0:
            raise UserError(
                f"{self.folder}/{MASKS}: all pixels are of class 0, but classes are told apart: two"
                " are needed"
            )
        return list(self.class_names) or [str(index) for index in range(largest + 1)]

    def _largest(self, sample: MaskedSample) -> int:
        classes = sample.classes
        counted = classes[classes != IGNORED]
        largest = int(counted.max()) if counted.size else -1
        if self.class_names and largest >= len(self.class_names):
            raise UserError(
                f"the mask {sample.mask_where} has class {largest}, but {CLASS_NAMES} names"
                f" {len(self.class_names)}, from 0: name every class, and {IGNORED} for none"
            )
        return largest

    def _words(self) -> Sequence[str]:
        return self.class_names


def is_voc(folder: Folder) -> bool:
    """Tell whether a local ``folder`` has Pascal VOC's layout."""
    return folder.is_local and folder.has_folder(LISTS)


def open_voc(folder: Folder) -> SegmentationSet:
    """Open Pascal VOC's layout: lists of names, and an image and a mask of each.

    The names are the lines of ``ImageSets/Segmentation/train.txt`` and ``val.txt``; an image is
    ``JPEGImages/<name>.jpg``, or of another extension in `IMAGE_EXTENSIONS`, and its mask
    ``SegmentationClass/<name>.png``. ``classnames.txt``, if there, names the classes.

    Args:
        folder: a local one. Every file is looked for, but none is read.

    Raises:
        UserError: a list is missing or empty, has a name twice or one of the other list, or a file
            is not there or not in the folder.
    """
    lines: dict[str, str] = {}
    splits = {split: _read_list(folder, name, lines) for split, name in _SPLITS.items()}
    parts = {
        split: [
            MaskedImagesPart(files[start].name, folder, tuple(files[start : start + _FILES_A_PART]))
            for start in range(0, len(files), _FILES_A_PART)
        ]
        for split, files in splits.items()
    }
    names = tuple(read_class_names(folder)) if folder.has_file(CLASS_NAMES) else ()
    files = [one for found in splits.values() for one in found]
    return SegmentationSet(
        folder.name,
        str(folder),
        parts,
        class_names=names,
        notes=(*tell_links(folder, (one.image for one in files)), *_tell_others(folder, lines)),
    )


def _read_list(folder: Folder, name: str, lines: dict[str, str]) -> list[MaskedImage]:
    """Return what a list names; ``lines`` are the names and places of those that were read."""
    path = f"{LISTS}/{name}"
    found = []
    text = folder.read_text(path, _MAX_BYTES)
    for number, line in enumerate(split_lines(text, keep_blank=True), 1):
        if not line:
            continue
        where = f"{folder.place(path)}, line {number}"
        check_path(line, where, "name")
        if line in lines:
            raise UserError(
                f"{where}: {line[:80]!r} is there before, in {lines[line]}; each image belongs once"
                " to one of the lists"
            )
        lines[line] = where
        found.append(_find_files(folder, line, where))
    if not found:
        raise UserError(f"{folder.place(path)} is empty: it must hold one name a line")
    return found


def _find_files(folder: Folder, name: str, where: str) -> MaskedImage:
    names = [f"{IMAGES}/{name}.{extension}" for extension in IMAGE_EXTENSIONS]
    image = next((path for path in names if folder.has_file(path)), names[0])
    mask = f"{MASKS}/{name}.png"
    check_file(folder, image, where)
    check_file(folder, mask, where, "mask")
    return MaskedImage(name, image, mask)


def _tell_others(folder: Folder, names: Iterable[str]) -> list[str]:
    """Say how many masks no list names."""
    masks = {f"{MASKS}/{name}.png" for name in names}
    others = [name for name in folder.files(MASKS, "png") if name not in masks]
    if not others:
        return []
    return [f"left out: masks that no list names: {len(others)} ({others[0]} first)"]
