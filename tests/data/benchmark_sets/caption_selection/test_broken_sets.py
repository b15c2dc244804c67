"""What is broken in a set of caption selection is told in one sentence with its file and line."""

import json
import re

import pytest

from benchmark_folders import image_bytes, write_split
from caption_sets import (
    write_aro,
    write_caption_tars,
    write_groups,
    write_lines,
    write_sugar_crepe,
    write_whats_up,
    write_winoground,
)
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.metrics.caption_selection import MAX_PAIRS

ROW = {
    "group": "g",
    "images": ["images/red.png", "images/blue.png"],
    "captions": ["red", "blue"],
    "pairs": [[0, 0], [1, 1]],
}


def error_of(folder, read=True):
    with pytest.raises(UserError) as told:
        dataset = open_set(folder, kind="caption_selection")
        if read:
            list(dataset.groups())
            for sample in dataset.samples("test"):
                assert sample.image.mode == "RGB"
    sentence = str(told.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"captions": ["red", ""]}, "'captions' must be a text, got \"\""),
        ({"captions": ["red", "\ud800"]}, "'captions' must be a text"),
        ({"captions": "red"}, "'captions' must be a list"),
        ({"captions": []}, "a group has 1 to 100 captions, got 0 in group 'g'"),
        ({"images": ["images/red.png"] * 101}, "a group has 1 to 100 images, got 101"),
        ({"images": ["images/red.png", 7]}, "'images' must be a text, got 7"),
        ({"images": ["images/red.png", "../red.png"]}, "must be a path inside the set's folder"),
        ({"images": ["images/red.png", "/etc/passwd"]}, "must be a path inside the set's folder"),
        ({"images": ["images/red.png", "a/../../b.png"]}, "must be a path inside"),
        ({"images": ["images/red.png", "file://b.png"]}, "must be a path inside"),
        ({"images": ["images/red.png", "C:\\b.png"]}, "must be a path inside"),
        ({"images": ["images/red.png", "images/grey.png"]}, "images/grey.png is missing"),
        ({"images": ["images/red.png", {"file": "a"}]}, "a path, or an object of file and box"),
        (
            {"images": ["images/red.png", {"file": "images/blue.png", "box": [0, 0, 0, 9]}]},
            "a box is [left, top, width, height]",
        ),
        ({"pairs": []}, "one pair of image and caption at least"),
        ({"pairs": [[0, 0], [0, 0]]}, "and each once"),
        ({"pairs": [[0, 2]]}, "pair [0, 2] names no place among 2 images and 2 captions"),
        ({"pairs": [[0, -1]]}, "pair [0, -1] names no place"),
        ({"pairs": [[0, True]]}, "'pairs' must be a list of [image, caption]"),
        ({"pairs": [[0, 0, 0]]}, "'pairs' must be a list of [image, caption]"),
        ({"group": ""}, "'group' must be a text"),
        ({"kind": "typo"}, "expected an object of group, images, captions, pairs"),
        ({"rules": ["accuracy"]}, "'rules' may hold image_score"),
        (
            {"captions": ["red"] * 20, "pairs": [[0, place] for place in range(20)]},
            f"has at most {MAX_PAIRS} pairs, got 20",
        ),
    ],
)
def test_a_group_that_is_not_whole(fields, told, tmp_path):
    folder = write_groups(tmp_path / "set")
    write_lines(folder / "groups.jsonl", [ROW | {"group": "first"}, ROW | fields])
    sentence = error_of(folder)
    assert f"{folder}/groups.jsonl, line 2: " in sentence
    assert told in sentence


def test_a_line_that_is_no_json(tmp_path):
    folder = write_groups(tmp_path / "set")
    with open(folder / "groups.jsonl", "a") as file:
        file.write("\n{]\n")
    assert "groups.jsonl, line 8: not valid JSON" in error_of(folder)


def test_a_line_that_is_nested_too_deeply(tmp_path):
    folder = write_groups(tmp_path / "set")
    (folder / "groups.jsonl").write_text("[" * 100_000)
    assert "groups.jsonl, line 1: not valid JSON" in error_of(folder)


def test_two_groups_of_one_name(tmp_path):
    folder = write_groups(tmp_path / "set")
    write_lines(folder / "groups.jsonl", [ROW, ROW])
    assert "line 2: there is a group 'g' before it" in error_of(folder)


def test_no_group_at_all(tmp_path):
    folder = write_groups(tmp_path / "set")
    (folder / "groups.jsonl").write_text("\n")
    assert "holds no group of images and captions" in error_of(folder)


def test_a_box_outside_of_its_image(tmp_path):
    folder = write_groups(tmp_path / "set")
    box = {"file": "images/blue.png", "box": [8, 0, 4, 4]}
    write_lines(folder / "groups.jsonl", [ROW | {"images": ["images/red.png", box]}])
    assert "the box [8, 0, 4, 4] (left, top, width, height)" in error_of(folder)


def test_an_image_that_is_none(tmp_path):
    folder = write_groups(tmp_path / "set")
    (folder / "images" / "red.png").write_bytes(b"no picture")
    assert f"the image of {folder}/images/red.png cannot be decoded" in error_of(folder)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: not valid JSON (an array or an object is expected)"),
        ("7", "line 1: not valid JSON (an array or an object is expected)"),
        ('{\n "1": {"filename": "red.png"}\n', "line 2: expected an object with 'caption'"),
        ('{\n "1": {"filename": "red.png"]}', "line 2: not valid JSON"),
        ('{\n "1": 3\n}', "line 2: expected an object with 'filename'"),
        ('[\n\n "red"\n]', "line 3: expected an object with 'filename'"),
        ('{"1": 3 "2": 4}', "line 1: expected an object with 'filename'"),
        ('{\n"1": ' + "[" * 100_000 + "\n}", "nested too deeply"),
        ('{\n"1": ' + "9" * 5000 + "\n}", "line 2: not valid JSON"),
        ('{"1": {}}\nmore', "line 1: expected an object with 'filename'"),
    ],
)
def test_a_file_of_sugar_crepe_that_is_broken(text, told, tmp_path):
    folder = write_sugar_crepe(tmp_path / "set")
    (folder / "swap_obj.json").write_text(text)
    sentence = error_of(folder)
    assert f"{folder}/swap_obj.json" in sentence
    assert told in sentence


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text + "[]", "not valid JSON (more follows after its end)"),
        (lambda text: text.replace('"10"', '"0"'), "not valid JSON (the key '0' is there twice"),
        (lambda text: text.replace(' },\n "10"', ' }\n "10"'), "line 7: not valid JSON"),
    ],
)
def test_what_stands_between_the_entries(spoil, told, tmp_path):
    folder = write_sugar_crepe(tmp_path / "set")
    path = folder / "swap_obj.json"
    path.write_text(spoil(path.read_text()))
    assert told in error_of(folder)


def test_sugar_crepe_without_its_images_says_where_they_were_looked_for(tmp_path):
    folder = write_sugar_crepe(tmp_path / "set")
    (folder / "val2017").rename(tmp_path / "elsewhere")
    sentence = error_of(folder)
    assert "add_att.json, line 2: the image red.png is missing" in sentence
    assert f"{folder}/val2017, {folder}/images" in sentence


def test_sugar_crepe_that_names_a_path_out_of_its_folder(tmp_path):
    folder = write_sugar_crepe(tmp_path / "set")
    path = folder / "add_att.json"
    path.write_text(path.read_text().replace("green.png", "../../green.png"))
    assert re.search(r"add_att.json, line 7: image '.*' must be a path inside", error_of(folder))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"bbox_w": 0}, "a box is [left, top, width, height]"),
        ({"bbox_x": "0"}, "'bbox_x' must be a whole number, got \"0\""),
        ({"bbox_h": 1.5}, "'bbox_h' must be a whole number"),
        ({"true_caption": None}, "'true_caption' must be a text, got null"),
        ({"image_path": "9.png"}, "9.png is missing"),
    ],
)
def test_an_entry_of_aro_that_is_not_whole(fields, told, tmp_path):
    folder = write_aro(tmp_path / "set")
    path = folder / "visual_genome_relation.json"
    entries = json.loads(path.read_text())
    path.write_text(
        "[\n" + ",\n".join(json.dumps(e) for e in [entries[0], entries[1] | fields]) + "]"
    )
    sentence = error_of(folder)
    assert "visual_genome_relation.json, line 3: " in sentence
    assert told in sentence


@pytest.mark.parametrize(
    ("name", "entry", "told"),
    [
        ("controlled_images", {"image_path": "a", "caption_options": ["a"]}, "'caption_options'"),
        (
            "controlled_images",
            {"image_path": "data/../red.png", "caption_options": ["a", "b"]},
            "'image_path' must lie in controlled_images/",
        ),
        (
            "controlled_images",
            {"image_path": "controlled_images/../../red.png", "caption_options": ["a", "b"]},
            "must be a path inside the set's folder",
        ),
        ("coco_qa_one_obj", [1, "a"], "expected [number of the image"),
        ("coco_qa_one_obj", ["../1", "a", "b"], "the number of an image has up to 12 digits"),
        ("coco_qa_one_obj", [77, "a", "b"], "val2017/000000000077.jpg is missing"),
    ],
)
def test_an_entry_of_whats_up_that_is_not_whole(name, entry, told, tmp_path):
    folder = write_whats_up(tmp_path / "set")
    file = next(folder.glob(f"{name}*.json"))
    file.write_text(json.dumps([entry]))
    sentence = error_of(folder)
    assert f"{file}, line 1: " in sentence
    assert told in sentence


def test_whats_up_without_any_of_its_images(tmp_path):
    folder = write_whats_up(tmp_path / "set")
    for name in ("val2017", "controlled_images"):
        (folder / name).rename(tmp_path / name)
    assert "controlled_images is missing" in error_of(folder)


def test_a_table_of_winoground_that_is_cut(tmp_path):
    folder = write_winoground(tmp_path / "set")
    (path,) = folder.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path} cannot be read as a Parquet table" in error_of(folder)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("image_1", {"bytes": None, "path": "/etc/passwd"}, "row 3, image_1 must hold an encoded"),
        ("image_1", {"bytes": b"none", "path": None}, "row 3, image_1 cannot be decoded"),
        ("caption_0", " ", "row 3: 'caption_0' must be a text"),
        ("caption_0", None, "row 3: 'caption_0' must be a text"),
    ],
)
def test_a_row_of_winoground_that_is_not_whole(column, value, told, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = write_winoground(tmp_path / "set")
    (path,) = folder.rglob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    rows[3][column] = value
    pq.write_table(pa.Table.from_pylist(rows), path)
    sentence = error_of(folder)
    assert str(path) in sentence
    assert told in sentence


def test_a_tar_whose_sample_has_one_caption(tmp_path):
    folder = write_caption_tars(tmp_path / "set")
    write_split(folder / "test", [{"a.png": image_bytes((1, 2, 3)), "a.txt": b"one\n"}])
    assert "sample 'a' of" in error_of(folder)
    assert "has one caption: its txt member must hold the right one" in error_of(folder)


def test_a_tar_whose_sample_has_more_captions_than_a_group_may(tmp_path):
    folder = write_caption_tars(tmp_path / "set")
    captions = b"".join(b"%d\n" % number for number in range(101))
    write_split(folder / "test", [{"a.png": image_bytes((1, 2, 3)), "a.txt": captions}])
    assert "sample 'a' of" in error_of(folder)
    assert "has 101 captions: a group has 100 at most" in error_of(folder)


def test_a_tar_that_is_none(tmp_path):
    folder = write_caption_tars(tmp_path / "set")
    (folder / "test" / "1.tar").write_bytes(b"x" * 2000)
    assert "1.tar cannot be read as a tar of samples" in error_of(folder)


def test_a_set_of_another_kind(tmp_path):
    folder = tmp_path / "set"
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.png").write_bytes(image_bytes((9, 9, 9)))
    sentence = error_of(folder)
    assert "is a set of kind classification, but the recipe says caption_selection" in sentence
    assert "groups.jsonl" in sentence
