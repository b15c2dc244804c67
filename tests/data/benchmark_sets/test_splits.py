"""Split folders are known in any case and by their usual names; what may be a split or a class
is refused.
"""

import shutil

import pytest

from benchmark_folders import COLOURS, image_bytes, write_classification
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError


def write_folders(folder, *places):
    """Each of the places gets one image."""
    for number, place in enumerate(places):
        (folder / place).mkdir(parents=True)
        (folder / place / "0.png").write_bytes(
            image_bytes(list(COLOURS.values())[number % 6], number)
        )
    return folder


@pytest.mark.parametrize("train", ["train", "Train", "training"])
@pytest.mark.parametrize("test", ["TEST", "Testing", "val", "Valid", "validation", "dev", "eval"])
def test_splits_are_known_by_their_usual_names(tmp_path, train, test):
    folder = write_folders(tmp_path / "set", f"{train}/a", f"{train}/b", f"{test}/a", f"{test}/b")
    dataset = open_set(folder)
    assert [(split, [s.key for s in dataset.samples(split)]) for split in ("train", "test")] == [
        ("train", [f"{train}/a/0.png", f"{train}/b/0.png"]),
        ("test", [f"{test}/a/0.png", f"{test}/b/0.png"]),
    ]
    assert dataset.notes == ()


@pytest.mark.parametrize("name", ["Test", "val", "validation"])
def test_tars_are_found_in_splits_of_other_names(tmp_path, name):
    folder = write_classification(tmp_path / "set")
    expected = [sample.key for sample in open_set(folder).samples("test")]
    (folder / "test").rename(folder / name)
    assert [sample.key for sample in open_set(folder).samples("test")] == expected


def test_a_validation_split_beside_a_test_split_is_told(tmp_path):
    folder = write_folders(tmp_path / "set", "test/a", "test/b", "val/a", "val/b")
    assert open_set(folder).notes == ("val/ is left out: scores are computed on test/",)
    tars = write_classification(tmp_path / "tars")
    shutil.copytree(tars / "test", tars / "Valid")
    assert open_set(tars).notes == ("Valid/ is left out: scores are computed on test/",)


def test_two_folders_of_one_split_are_refused(tmp_path):
    with pytest.raises(UserError, match="Train/ and training/ are both its train split"):
        open_set(
            write_folders(
                tmp_path / "set",
                "Train/a",
                "Train/b",
                "training/a",
                "training/b",
                "test/a",
                "test/b",
            )
        )
    tars = write_classification(tmp_path / "tars")
    shutil.copytree(tars / "train", tars / "training")
    with pytest.raises(UserError, match="train/ and training/ are both its train split"):
        open_set(tars)


@pytest.mark.parametrize(
    "places",
    [("train", "cat", "dog"), ("Val", "cat"), ("test/a", "test/b", "cat"), ("train", "test")],
)
def test_what_may_be_a_split_or_a_class_is_refused(tmp_path, places):
    with pytest.raises(UserError, match="it cannot be told whether that is a split or a class"):
        open_set(write_folders(tmp_path / "set", *places))


def test_splits_inside_a_split_are_refused(tmp_path):
    with pytest.raises(UserError, match="test/test is called like a split and holds folders"):
        open_set(write_folders(tmp_path / "set", "test/test/a", "test/test/b", "test/c"))


def test_a_class_inside_a_split_may_be_called_as_it_likes(tmp_path):
    """CIFAR-100 has a class train."""
    folder = write_folders(tmp_path / "set", "test/train", "test/bus")
    assert open_set(folder).class_names == ["bus", "train"]


def test_folders_beside_the_splits_are_told(tmp_path):
    folder = write_folders(tmp_path / "set", "test/a", "test/b")
    (folder / "docs").mkdir()
    (folder / "docs" / "licence.txt").write_text("free")
    assert open_set(folder).notes == ("left out: folders beside the splits: 1 (docs)",)


def test_more_shards_than_announced_are_told(tmp_path):
    folder = write_classification(tmp_path / "set")
    (folder / "test" / "nshards.txt").write_text("1")
    assert open_set(folder).notes == (
        "left out: tars from test/1.tar on, since test/nshards.txt announces 1",
    )
