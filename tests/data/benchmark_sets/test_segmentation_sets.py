"""Pascal VOC's layout: what is read, and what is refused in one sentence."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.metrics.segmentation import IGNORED
from voc_sets import SIDE, png, write_voc

LISTS = "ImageSets/Segmentation"


def file_of(folder, place, name="val_001", extension="png"):
    return folder / place / f"{name}.{extension}"


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_the_layout_is_known_by_its_files(tmp_path):
    dataset = open_set(write_voc(tmp_path / "voc", 3, 2))
    assert dataset.names("train") == ["train_000", "train_001", "train_002"]
    assert dataset.names("test") == ["val_000", "val_001"]
    assert dataset.read_classes() == ["0", "1", "2", "3"]
    sample = next(dataset.samples("test"))
    assert sample.classes.shape == sample.image.size == (SIDE, SIDE)
    assert dataset.notes == ()


def test_images_are_jpegs_as_vocs_or_of_other_formats(tmp_path):
    folder = write_voc(tmp_path / "voc", 2, 2)
    image = file_of(folder, "JPEGImages")
    image.with_suffix(".jpg").write_bytes(encoded(Image.open(image), "JPEG"))
    image.unlink()
    assert [s.where.rpartition(".")[2] for s in open_set(folder).samples("test")] == ["png", "jpg"]


@pytest.mark.parametrize("mode", ["P", "L"])
def test_indices_are_those_that_are_stored(tmp_path, mode):
    folder = write_voc(tmp_path / "voc", 2, 2)
    stored = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    file_of(folder, "SegmentationClass", "val_000").write_bytes(png(stored, mode))
    sample = next(open_set(folder).samples("test"))
    np.testing.assert_array_equal(sample.classes, stored)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_palette_of_few_bits_is_read_by_its_numbers(tmp_path, bits):
    folder = write_voc(tmp_path / "voc", 2, 2)
    stored = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 2**bits
    image = Image.open(io.BytesIO(png(stored)))
    image.load()
    file_of(folder, "SegmentationClass", "val_000").write_bytes(encoded(image, bits=bits))
    np.testing.assert_array_equal(next(open_set(folder).samples("test")).classes, stored)


def test_names_of_classes_may_stand_beside(tmp_path):
    folder = write_voc(tmp_path / "voc")
    (folder / "classnames.txt").write_text("sky\ncat\ndog\ntree\nbird\n")
    assert open_set(folder).read_classes() == ["sky", "cat", "dog", "tree", "bird"]


def test_links_are_followed_and_masks_of_no_list_are_told(tmp_path):
    folder = write_voc(tmp_path / "voc", 2, 2)
    image = file_of(folder, "JPEGImages")
    image.rename(tmp_path / "elsewhere.png")
    image.symlink_to(tmp_path / "elsewhere.png")
    (folder / LISTS / "train.txt").write_text("train_000\n\n")
    assert open_set(folder).notes == (
        "links were followed: 1 image",
        "left out: masks that no list names: 1 (SegmentationClass/train_001.png first)",
    )


def test_a_changed_mask_changes_the_fingerprint(tmp_path):
    folder = write_voc(tmp_path / "voc", 2, 2)
    before = open_set(folder).fingerprint
    mask = file_of(folder, "SegmentationClass")
    content = mask.read_bytes()
    mask.write_bytes(png(np.full((SIDE, SIDE), 3)))
    assert open_set(folder).fingerprint != before
    mask.write_bytes(content)
    assert open_set(folder).fingerprint == before


def edit(name, text):
    return lambda folder: (folder / LISTS / name).write_text(text)


BROKEN_LISTS = {
    "a name that leads out": (edit("val.txt", "../x\n"), r"val\.txt, line 1: name '\.\./x' must"),
    "a name from the root": (edit("val.txt", "/etc/passwd\n"), "line 1: name '/etc/passwd' must"),
    "a name twice": (
        edit("val.txt", "val_000\n\nval_000\n"),
        r"val\.txt, line 3: 'val_000' is there before, in .*val\.txt, line 1",
    ),
    "a name of both lists": (edit("val.txt", "train_000\n"), r"val\.txt, line 1: 'train_000'"),
    "an empty list": (edit("train.txt", "\n"), r"train\.txt is empty"),
    "a list that is no text": (
        lambda folder: (folder / LISTS / "val.txt").write_bytes(b"\xff\xfe\x00"),
        r"val\.txt cannot be read as UTF-8",
    ),
    "no list": (lambda folder: (folder / LISTS / "val.txt").unlink(), r"val\.txt is missing"),
    "no image": (
        lambda folder: file_of(folder, "JPEGImages").unlink(),
        r"val\.txt, line 2: the image .*JPEGImages/val_001\.jpg is missing",
    ),
    "no mask": (
        lambda folder: file_of(folder, "SegmentationClass").unlink(),
        r"val\.txt, line 2: the mask .*SegmentationClass/val_001\.png is missing",
    ),
}


@pytest.mark.parametrize("fault", BROKEN_LISTS)
def test_broken_lists_are_refused_when_the_set_is_opened(fault, tmp_path):
    spoil, told = BROKEN_LISTS[fault]
    folder = write_voc(tmp_path / "voc", 2, 2)
    spoil(folder)
    with pytest.raises(UserError, match=told) as error:
        open_set(folder)
    assert "\n" not in str(error.value)


def mask(content):
    return lambda folder: file_of(folder, "SegmentationClass").write_bytes(content)


def bomb():
    """Return a PNG whose header declares more pixels than any picture has."""
    content = bytearray(png(np.zeros((SIDE, SIDE))))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(content)


GREY = np.zeros((SIDE, SIDE), np.uint8)
BROKEN_MASKS = {
    "no picture": (mask(b"no picture"), "none of JPEG, PNG"),
    "cut short": (mask(png(np.random.default_rng(0).integers(0, 4, (SIDE, SIDE)))[:900]), "cannot"),
    "colours": (mask(encoded(Image.new("RGB", (SIDE, SIDE)))), "mode RGB holds no class indices"),
    "grey of 16 bits": (mask(encoded(Image.new("I;16", (SIDE, SIDE)))), "holds no class indices"),
    "one bit of grey": (mask(encoded(Image.new("1", (SIDE, SIDE)))), "mode 1 holds no class"),
    "a JPEG": (mask(encoded(Image.fromarray(GREY), "JPEG")), "its JPEG of mode L holds no class"),
    "another size": (mask(png(np.zeros((SIDE, 3)))), "has 3 x 16 pixels, but its image has 16"),
    "a bomb": (mask(bomb()), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN_MASKS)
def test_broken_masks_are_refused_with_their_file(fault, tmp_path):
    spoil, told = BROKEN_MASKS[fault]
    folder = write_voc(tmp_path / "voc", 2, 2)
    spoil(folder)
    dataset = open_set(folder)
    with pytest.raises(UserError, match=told) as error:
        dataset.read_classes()
    assert "SegmentationClass/val_001.png" in str(error.value)
    assert "\n" not in str(error.value)


def test_grey_of_few_bits_is_refused_since_its_numbers_are_not_kept(tmp_path):
    folder = write_voc(tmp_path / "voc", 2, 2)
    content = bytearray(png(GREY, "L"))
    content[24] = 4
    file_of(folder, "SegmentationClass").write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"val_001\.png cannot be read"):
        open_set(folder).read_classes()


@pytest.mark.parametrize(
    ("value", "told"),
    [(IGNORED, r"val\.txt: no mask has a pixel of a class"), (0, "all pixels are of class 0")],
)
def test_masks_that_leave_nothing_to_tell_apart_are_refused(value, told, tmp_path):
    every = {
        f"{split}_{index:03d}": np.full((SIDE, SIDE), value if split == "val" else 0)
        for split in ("train", "val")
        for index in range(2)
    }
    dataset = open_set(write_voc(tmp_path / "voc", 2, 2, masks=every))
    with pytest.raises(UserError, match=told):
        dataset.read_classes()


def test_a_class_that_no_line_names_is_refused(tmp_path):
    folder = write_voc(tmp_path / "voc", masks={"val_001": np.full((SIDE, SIDE), 3)})
    (folder / "classnames.txt").write_text("sky\ncat\ndog\n")
    with pytest.raises(UserError, match=r"\.png has class 3, but classnames\.txt names 3, from 0"):
        open_set(folder).read_classes()


def test_another_kind_than_the_recipe_says_is_refused(tmp_path):
    folder = write_voc(tmp_path / "voc")
    with pytest.raises(UserError, match="is a set of kind segmentation, but the recipe says"):
        open_set(folder, kind="retrieval")
    os.rename(folder / "ImageSets", folder / "lists")
    with pytest.raises(UserError, match=r"holds JPEGImages/, SegmentationClass/ and ImageSets"):
        open_set(folder, kind="segmentation")
