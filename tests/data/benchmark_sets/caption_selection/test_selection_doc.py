"""docs/inputs.md agrees with what becomes of sets of caption selection."""

import json
import re

import pytest

from benchmark_folders import image_bytes, write_split
from caption_sets import (
    write_aro,
    write_caption_tars,
    write_groups,
    write_json,
    write_lines,
    write_sugar_crepe,
    write_sugar_crepe_pp,
    write_whats_up,
    write_winoground,
)
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from inputs_doc import table_of

ROW = {
    "group": "g",
    "images": ["images/red.png", "images/blue.png"],
    "captions": ["red", "blue"],
    "pairs": [[0, 0], [1, 1]],
}


def group(folder, **fields):
    write_groups(folder)
    write_lines(folder / "groups.jsonl", [ROW, ROW | {"group": "h"} | fields])
    return folder


def box_beyond(folder):
    write_aro(folder)
    path = folder / "visual_genome_relation.json"
    path.write_text(path.read_text().replace('"bbox_y": 0', '"bbox_y": 2'))
    return folder


def without_images(folder):
    (write_whats_up(folder) / "val2017").rename(folder / "elsewhere")
    return folder


def linked(folder):
    write_sugar_crepe(folder)
    (folder / "val2017").rename(folder / "coco")
    (folder / "val2017").symlink_to(folder / "coco")
    return folder


def spoiled(folder, text):
    (write_sugar_crepe(folder) / "swap_obj.json").write_text(text)
    return folder


def one_caption(folder):
    tar = {"a.png": image_bytes((1, 2, 3)), "a.txt": b"one\n"}
    write_split(write_caption_tars(folder) / "test", [tar])
    return folder


def without_bytes(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (path,) = write_winoground(folder).rglob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    rows[3]["image_1"] = {"bytes": None, "path": "1.png"}
    pq.write_table(pa.Table.from_pylist(rows), path)
    return folder


def orders(folder):
    write_aro(folder)
    write_json(folder / "coco_karpathy_test.json", [{"image": "1.jpg", "caption": ["a"]}])
    return folder


CASES = {
    "several files": [write_sugar_crepe],
    "an image in several": [write_sugar_crepe],
    "a box (ARO)": [box_beyond],
    "a box outside": [
        lambda f: group(f, images=[{"file": "images/red.png", "box": [8, 8, 1, 1]}] * 2)
    ],
    "two right captions": [write_sugar_crepe_pp],
    "a file of What'sUp": [without_images],
    "ARO's orders": [orders],
    "images behind links": [linked],
    "a path with": [lambda f: group(f, images=["../red.png", "images/blue.png"])],
    "an image that is not": [lambda f: group(f, images=["images/1.png", "images/blue.png"])],
    "JSON that": [lambda f: spoiled(f, '{\n"1": {]}'), lambda f: spoiled(f, "{\n] ")],
    "an entry without": [
        lambda f: spoiled(f, json.dumps({"1": {}}, indent=1)),
        lambda f: group(f, captions=7),
    ],
    "a group without": [lambda f: group(f, pairs=[]), lambda f: group(f, pairs=[[0, 9]])],
    "more than 100": [lambda f: group(f, captions=["a"] * 101)],
    "more than 12": [lambda f: group(f, captions=["a"] * 14, pairs=[[0, c] for c in range(13)])],
    "tars that say": [lambda f: write_caption_tars(f, "retrieval")],
    "a sample of a tar": [one_caption],
    "a row of Winoground": [without_bytes],
}


@pytest.mark.parametrize("row", [row for row, *_ in table_of("Caption selection")])
def test_every_row_is_true(row, tmp_path):
    (start,) = [start for start in CASES if row.startswith(start)]
    (words,) = [
        re.findall(r"`([^`]+)`", told)
        for name, _, told in table_of("Caption selection")
        if name == row
    ]
    told = []
    for number, write in enumerate(CASES[start]):
        try:
            dataset = open_set(write(tmp_path / str(number)), kind="caption_selection")
            told += dataset.notes
            assert list(dataset.groups())
            for sample in dataset.samples("test"):
                sample.image.load()
        except UserError as error:
            told.append(str(error))
    for part in words:
        assert any(part in sentence for sentence in told), (part, told)
    if not words:
        assert told == []


def test_every_case_has_its_row():
    names = [row for row, *_ in table_of("Caption selection")]
    assert all(any(name.startswith(start) for name in names) for start in CASES)
