"""What'sUp: where one thing is beside another (Kamath et al., EMNLP 2023, arXiv 2310.19785).

Two files list ``image_path`` and ``caption_options``, four of which the first is right. Four more
list the number of an image of COCO or Visual Genome, the right caption and a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dcr.data.benchmark_sets.caption_selection.groups import (
    Annotation,
    CaptionSelectionSet,
    ImageFile,
    collect,
)
from dcr.data.benchmark_sets.entries import Entry, check_text, read_json
from dcr.data.benchmark_sets.files import Folder
from dcr.errors import UserError

FILES = {
    "controlled_images_dataset.json": "controlled_images",
    "controlled_clevr_dataset.json": "controlled_clevr",
    "coco_qa_one_obj.json": "val2017",
    "coco_qa_two_obj.json": "val2017",
    "vg_qa_one_obj.json": "vg_images",
    "vg_qa_two_obj.json": "vg_images",
}
"""The folder of the images that each file names."""

_DIGITS = {"val2017": 12, "vg_images": 0}  # COCO's names are padded with zeros


def is_whats_up(folder: Folder) -> bool:
    """Tell whether a local ``folder`` holds one of the files."""
    return any(folder.has_file(name) for name in FILES)


def open_whats_up(folder: Folder) -> CaptionSelectionSet:
    """Open the files that lie in ``folder``, a type each.

    A file whose folder of images is not there is left out, and told.

    Args:
        folder: a local one.

    Raises:
        UserError: a file is broken, or an image is missing.
    """
    there = [name for name in FILES if folder.has_file(name)]
    whole = [name for name in there if folder.has_folder(FILES[name])]
    if not whole:
        raise UserError(
            f"{folder} has {there[0]}, but not its images: {folder.place(FILES[there[0]])} is"
            " missing"
        )
    notes = [
        f"left out: {name}, since {FILES[name]}/ is missing" for name in there if name not in whole
    ]
    return collect(folder, _annotations(folder, whole), ("text_score",), notes)


def _annotations(folder: Folder, names: list[str]) -> Iterator[Annotation]:
    for name in names:
        read: Callable[[Entry, str], tuple[str, list[str]]]
        read = _numbered if FILES[name] in _DIGITS else _controlled
        kind = name.removesuffix(".json").removesuffix("_dataset")
        for entry in read_json(folder, name):
            image, captions = read(entry, FILES[name])
            yield Annotation(
                entry.where,
                f"{kind}/{entry.name}",
                (ImageFile(image),),
                tuple(captions),
                ((0, 0),),
                kind,
            )


def _controlled(entry: Entry, images: str) -> tuple[str, list[str]]:
    """Return image and captions; paths there begin with the folder of the authors' program."""
    options = entry.get("caption_options")
    if not isinstance(options, list) or len(options) < 2:
        raise UserError(
            f"{entry.where}: 'caption_options' must list a right caption and wrong ones"
        )
    path = entry.text("image_path").removeprefix("data/")
    if not path.startswith(f"{images}/"):
        raise UserError(f"{entry.where}: 'image_path' must lie in {images}/, got {path[:80]!r}")
    return path, [check_text(option, "caption_options", entry.where) for option in options]


def _numbered(entry: Entry, images: str) -> tuple[str, list[str]]:
    value = entry.value
    if not isinstance(value, list) or len(value) != 3:
        raise UserError(
            f"{entry.where}: expected [number of the image, right caption, wrong caption]"
        )
    number = str(value[0])
    if not number.isascii() or not number.isdecimal() or len(number) > 12:
        raise UserError(f"{entry.where}: the number of an image has up to 12 digits")
    captions = [check_text(caption, "captions", entry.where) for caption in value[1:]]
    return f"{images}/{number.zfill(_DIGITS[images])}.jpg", captions
