"""ARO's sets of Visual Genome: ``visual_genome_{relation,attribution}.json``.

Each is a list of objects of ``image_path``, ``true_caption``, ``false_caption`` and the box of the
image that is asked about, ``bbox_x``, ``bbox_y``, ``bbox_w``, ``bbox_h`` (Yuksekgonul et al., ICLR
2023, arXiv 2210.01936). Its COCO and Flickr30k orders are no files: its program shuffles captions
anew, so they are not read.
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
from dcr.data.benchmark_sets.caption_selection.jsonl import check_box
from dcr.data.benchmark_sets.entries import Entry, read_json
from dcr.data.benchmark_sets.files import Folder

FILES = {
    "visual_genome_relation.json": "vg_relation",
    "visual_genome_attribution.json": "vg_attribution",
}
_IMAGES = ("images", "vg_images", "")
_BOX = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")


def is_aro(folder: Folder) -> bool:
    """Tell whether a local ``folder`` holds one of the two files."""
    return any(folder.has_file(name) for name in FILES)


def open_aro(folder: Folder) -> CaptionSelectionSet:
    """Open the files that lie in ``folder``, a type each; of an image its box alone is seen.

    Images lie in ``images/``, ``vg_images/`` or the folder itself.

    Args:
        folder: a local one.

    Raises:
        UserError: a file is broken, or an image is missing.
    """
    return collect(folder, _annotations(folder), ("text_score",))


def _annotations(folder: Folder) -> Iterator[Annotation]:
    images: str | None = None
    for name in FILES:
        for entry in read_json(folder, name) if folder.has_file(name) else ():
            file = entry.text("image_path")
            if images is None:
                images = find_images(folder, _IMAGES, file, entry.where)
            yield _annotation(entry, FILES[name], images + file)


def _annotation(entry: Entry, kind: str, image: str) -> Annotation:
    box = check_box([entry.whole(side) for side in _BOX], entry.where)
    return Annotation(
        entry.where,
        f"{kind}/{entry.name}",
        (ImageFile(image, box),),
        (entry.text("true_caption"), entry.text("false_caption")),
        ((0, 0),),
        kind,
    )
