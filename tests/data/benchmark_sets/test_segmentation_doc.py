"""docs/inputs.md agrees with what becomes of segmentation sets."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from inputs_doc import table_of
from voc_sets import SIDE, png, write_voc

LISTS = "ImageSets/Segmentation"
ZEROS = np.zeros((SIDE, SIDE), np.uint8)


def write(folder, files=None, **options):
    """Write a set and then ``files``, by their paths; None removes one."""
    write_voc(folder, 2, 2, **options)
    for name, content in (files or {}).items():
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def with_list(text, name="val"):
    return lambda folder: write(folder, {f"{LISTS}/{name}.txt": text})


def with_mask(content):
    return lambda folder: write(folder, {"SegmentationClass/val_000.png": content})


def saved(mode):
    buffer = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(buffer, "PNG")
    return buffer.getvalue()


def everywhere(value):
    names = [f"{split}_{number:03d}" for split in ("train", "val") for number in range(2)]
    return {name: np.full((SIDE, SIDE), value) for name in names}


def linked(folder):
    write(folder)
    (folder / "JPEGImages").rename(folder / "coco")
    (folder / "JPEGImages").symlink_to(folder / "coco")
    return folder


# By the first cell of a row: what writes such a set, once for each thing that is told.
CASES = {
    "images behind links": [linked],
    "masks that no list names": [with_list(b"val_000\n")],
    "no file that names the classes": [write],
    "no `train.txt` or `val.txt`, or an empty one": [with_list(None), with_list(b"\n")],
    "a name that is no path inside the folder": [with_list(b"../../etc/passwd\n")],
    "a name twice, or in both lists": [with_list(b"val_000\nval_000\n")],
    "a name without its image or mask": [with_list(b"other\n")],
    "a mask of colours, of 16 bits, or of grey with fewer than 8 bits": [with_mask(saved("RGB"))],
    "a mask that is damaged, cut short or a bomb": [with_mask(png(ZEROS)[:60])],
    "a mask of another size than its image": [with_mask(png(np.zeros((3, 3))))],
    "a class that `classnames.txt` does not name": [
        lambda folder: write(folder, {"classnames.txt": b"a\nb\nc\n"}, masks=everywhere(3))
    ],
    "a list whose masks are 255 everywhere, or one class alone": [
        lambda folder: write(folder, masks=everywhere(255)),
        lambda folder: write(folder, masks=everywhere(0)),
    ],
}


def outcome(folder):
    """Return whether a set is refused, and what is told."""
    try:
        dataset = open_set(folder, kind="segmentation")
        dataset.read_classes()
    except UserError as error:
        return "refused", str(error)
    return "read", "; ".join(dataset.notes)


def test_every_row_of_the_table_has_a_case():
    assert [row[0] for row in table_of("Segmentation")] == list(CASES)


@pytest.mark.parametrize("row", table_of("Segmentation"), ids=lambda row: row[0])
def test_what_the_table_says_is_what_happens(row, tmp_path):
    what, becomes, told_as = row
    told = re.findall(r"`([^`]+)`", told_as)
    for number, spoil in enumerate(CASES[what]):
        happens, told_now = outcome(spoil(tmp_path / str(number)))
        assert (happens == "refused") == becomes.startswith("refused"), told_now
        if told:
            assert told[number] in told_now
