"""Folders, lines of classnames.txt and label numbers mean the same class, or the set is refused."""

import pytest

from benchmark_folders import COLOURS, image_bytes, write_classification
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError


def write_classes(folder, names, lines=None, end="\n"):
    """One image a class, of that class's own colour, by which it is known again."""
    for rgb, name in zip(COLOURS.values(), names, strict=False):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.png").write_bytes(image_bytes(rgb))
    if lines is not None:
        (folder / "classnames.txt").write_bytes(end.join(lines).encode())
    return folder


def names_of(folder):
    """The name that each folder's image has as a sample."""
    dataset = open_set(folder)
    return {
        sample.key.split("/")[0]: dataset.class_names[sample.label]
        for sample in dataset.samples("test")
    }


def test_numbers_sort_as_numbers(tmp_path):
    folder = tmp_path / "set"
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    for number in range(11):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "0.png").write_bytes(image_bytes((9, 9, number)))
    assert open_set(folder).class_names == [str(number) for number in range(11)]
    (folder / "classnames.txt").write_text("\n".join(words))
    assert names_of(folder) == {str(number): word for number, word in enumerate(words)}


def test_numbers_may_count_from_one(tmp_path):
    assert names_of(write_classes(tmp_path, ["1", "2", "3"], ["a", "b", "c"])) == {
        "1": "a",
        "2": "b",
        "3": "c",
    }


@pytest.mark.parametrize("numbers", [["0", "2", "3"], ["2", "3", "4"]])
def test_numbers_with_gaps_do_not_say_which_line_is_theirs(tmp_path, numbers):
    with pytest.raises(
        UserError,
        match=r"classnames\.txt has 3 lines, but the class folders are not numbered without",
    ):
        open_set(write_classes(tmp_path, numbers, ["a", "b", "c"]))


@pytest.mark.parametrize("lines", [None, ["one", "two"]])
def test_two_folders_of_one_number_are_refused(tmp_path, lines):
    with pytest.raises(UserError, match="several class folders are the number 1"):
        open_set(write_classes(tmp_path, ["1", "01"], lines))


def test_lines_that_are_the_folders_names_decide_the_order(tmp_path):
    folder = write_classes(
        tmp_path, ["Big_cat", "ant", "tree-frog"], ["tree frog", "Ant", "big cat"]
    )
    assert open_set(folder).class_names == ["tree frog", "Ant", "big cat"]
    assert names_of(folder) == {"Big_cat": "big cat", "ant": "Ant", "tree-frog": "tree frog"}


def test_other_names_belong_to_the_folders_in_their_order(tmp_path):
    folder = write_classes(tmp_path, ["n02", "n01"], ["tench", "goldfish"])
    assert names_of(folder) == {"n01": "tench", "n02": "goldfish"}


def test_a_line_that_names_a_folder_at_another_place_is_refused(tmp_path):
    with pytest.raises(
        UserError,
        match="line 1 is 'cat', the name of folder cat, but the folder at its place is ant",
    ):
        open_set(write_classes(tmp_path, ["ant", "cat", "dog"], ["cat", "ant", "hound"]))


@pytest.mark.parametrize("names", [["class_2", "class_10", "class_3"], ["Zebra", "ape"]])
def test_folders_with_several_orders_do_not_say_which_line_is_theirs(tmp_path, names):
    with pytest.raises(UserError, match="the folders have several orders"):
        open_set(write_classes(tmp_path, names, ["a", "b", "c"][: len(names)]))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_ends_of_lines_and_a_byte_order_mark_do_not_matter(tmp_path, end):
    folder = write_classes(tmp_path, ["n1", "n2"], ["\ufefftench", "gold\u2028fish", "", ""], end)
    assert open_set(folder).class_names == ["tench", "gold\u2028fish"]


@pytest.mark.parametrize(("lines", "number"), [(["", "a", "b"], 1), (["a", " ", "b"], 2)])
def test_a_blank_line_would_number_the_following_anew(tmp_path, lines, number):
    with pytest.raises(UserError, match=rf"classnames\.txt: line {number} is blank"):
        open_set(write_classes(tmp_path / "folders", ["n1", "n2"], lines))
    folder = write_classification(tmp_path / "tars")
    (folder / "classnames.txt").write_text("\n".join(lines))
    with pytest.raises(UserError, match=rf"classnames\.txt: line {number} is blank"):
        open_set(folder)


def test_names_that_classes_share_are_told(tmp_path):
    """ImageNet's usual names hold "missile" and "sunglasses" twice, so such a set is not
    refused.
    """
    folder = write_classification(tmp_path / "tars")
    (folder / "classnames.txt").write_text("a\nb\nb\nc\nd\ne\n")
    (note,) = open_set(folder).notes
    assert note == "several classes share a name, so that no text tells them apart: b"
    assert open_set(write_classes(tmp_path / "folders", ["a_b", "a b"])).notes == (
        note.replace(": b", ": a b"),
    )


def test_names_that_are_numbers_are_told(tmp_path):
    (note,) = open_set(write_classes(tmp_path, ["0", "1"])).notes
    assert "the class names are numbers" in note
