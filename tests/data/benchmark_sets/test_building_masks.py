"""Segmentation sets from folders of images and masks."""

import numpy as np
import pytest

from dcr.data.benchmark_sets import make_set, open_set
from dcr.errors import UserError
from voc_sets import SIDE, picture, png, quarters


@pytest.fixture
def source(tmp_path):
    generator = np.random.default_rng(0)
    for split in ("training", "validation"):
        for number in range(3):
            mask = quarters(generator)
            for place, content in (("images", picture(mask)), ("masks", png(mask))):
                path = tmp_path / "source" / place / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    (tmp_path / "source" / "classnames.txt").write_text("a\nb\nc\nd\n")
    return tmp_path / "source"


def test_the_set_has_the_same_bytes_in_vocs_layout(source, tmp_path):
    make_set("segmentation", source, tmp_path / "set")
    dataset = open_set(tmp_path / "set", kind="segmentation")
    assert dataset.names("train") == ["train_0", "train_1", "train_2"]
    assert dataset.names("test") == ["val_0", "val_1", "val_2"]
    assert dataset.read_classes() == ["a", "b", "c", "d"]
    for number, sample in enumerate(dataset.samples("test")):
        assert sample.content == (source / f"images/validation/{number}.png").read_bytes()
        assert sample.mask == (source / f"masks/validation/{number}.png").read_bytes()


def without(name):
    return lambda source: (source / name).rename(source / "elsewhere")


def write(name, content):
    def spoil(source):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)

    return spoil


FAULTS = {
    "no images": (without("images"), "needs images/train/ and images/val/"),
    "no split": (without("images/training"), "needs images/train/ and images/val/"),
    "a split twice": (write("images/val/1.png", b""), "val/ and validation/ are both of val.txt"),
    "no mask": (without("masks/training/1.png"), r"masks/training/1\.png is missing"),
    "a broken mask": (write("masks/training/1.png", b"x"), r"training/1\.png cannot be read"),
    "a broken image": (write("images/training/1.png", b"x"), "cannot be decoded"),
    "another size": (
        write("masks/training/1.png", png(np.zeros((SIDE, 2)))),
        "has 2 x 16 pixels, but its image has 16 x 16",
    ),
    "two of a name": (
        write("images/training/1.webp", picture(np.zeros((SIDE, SIDE), int))),
        "has two images '1'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_whole_is_refused_and_nothing_is_written(source, tmp_path, fault):
    spoil, told = FAULTS[fault]
    spoil(source)
    with pytest.raises(UserError, match=told):
        make_set("segmentation", source, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_folder_that_is_there_is_not_written_over(source, tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError, match="is there already"):
        make_set("segmentation", source, tmp_path / "set")
