"""SugarCrepe and SugarCrepe++: json files of captions beside COCO's validation images.

SugarCrepe (Hsieh et al., NeurIPS 2023, arXiv 2306.14610) has seven files, ``{id: {filename,
caption, negative_caption}}``. SugarCrepe++ (Dumpala et al., NeurIPS 2024, arXiv 2406.11171) has
five, lists of objects that hold a second right caption, ``caption2``, besides.
"""

from __future__ import annotations

from collections.abc import Iterator

from dcr.data.benchmark_sets.caption_selection.groups import (
    Annotation,
    CaptionSelectionSet,
    ImageFile,
    collect,
)
from dcr.data.benchmark_sets.caption_selection.image_folders import find_images
from dcr.data.benchmark_sets.entries import Entry, read_json
from dcr.data.benchmark_sets.files import Folder

FILES = (
    "add_att.json",
    "add_obj.json",
    "replace_att.json",
    "replace_obj.json",
    "replace_rel.json",
    "swap_att.json",
    "swap_obj.json",
    "replace_attribute.json",
    "replace_object.json",
    "replace_relation.json",
    "swap_atribute.json",  # as SugarCrepe++ spells it
    "swap_attribute.json",
    "swap_object.json",
)
_FOLDERS = ("", "data/")
_IMAGES = ("val2017", "images", "")


def is_sugar_crepe(folder: Folder) -> bool:
    """Tell whether a local ``folder`` holds one of either's files."""
    return bool(_files(folder))


def _files(folder: Folder) -> list[str]:
    return [
        f"{inner}{name}" for inner in _FOLDERS for name in FILES if folder.has_file(inner + name)
    ]


def open_sugar_crepe(folder: Folder) -> CaptionSelectionSet:
    """Open the files of SugarCrepe or SugarCrepe++ that lie in ``folder``, a type each.

    Images lie in ``val2017/``, ``images/`` or the folder itself.

    Args:
        folder: a local one; the files lie at its top, or in ``data/``.

    Raises:
        UserError: a file is broken, or an image is missing.
    """
    return collect(folder, _annotations(folder), ("text_score",))


def _annotations(folder: Folder) -> Iterator[Annotation]:
    images: str | None = None
    for name in _files(folder):
        for entry in read_json(folder, name):
            file = entry.text("filename")
            if images is None:
                images = find_images(folder, _IMAGES, file, entry.where)
            yield _annotation(entry, name, images + file)


def _annotation(entry: Entry, name: str, image: str) -> Annotation:
    kind = name.rpartition("/")[2].removesuffix(".json")
    right = [entry.text("caption")]
    if "caption2" in entry.value:
        right.append(entry.text("caption2"))
    return Annotation(
        entry.where,
        f"{kind}/{entry.name}",
        (ImageFile(image),),
        (*right, entry.text("negative_caption")),
        tuple((0, place) for place in range(len(right))),
        kind,
    )
