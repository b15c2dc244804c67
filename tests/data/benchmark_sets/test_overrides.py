"""A table beside a set drops items or corrects them; what it says is checked line by line."""

import json

import pytest

from benchmark_folders import write_mmvp
from dcr.data.benchmark_sets import open_set
from dcr.data.benchmark_sets.files import Folder
from dcr.data.benchmark_sets.overrides import Overrides, read_overrides
from dcr.errors import UserError

HEAD = "item,action,value,reason\n"


def read(folder, text=None, name="overrides.csv"):
    if text is not None:
        (folder / name).write_text(text, encoding="utf-8")
    return read_overrides(Folder(str(folder)))


def test_a_folder_without_a_table_has_none(tmp_path):
    assert read(tmp_path) == Overrides()


def test_a_table_and_lines_of_json_say_the_same(tmp_path):
    table = read(tmp_path, f'{HEAD}a,drop,,two cats\n"b, c",correct,0-1 1-0,"labels, exchanged"\n')
    (tmp_path / "overrides.csv").unlink()
    lines = [
        {"item": "a", "action": "drop", "reason": "two cats"},
        {"item": "b, c", "action": "correct", "value": "0-1 1-0", "reason": "labels, exchanged"},
    ]
    read_lines = read(tmp_path, "\n".join(map(json.dumps, lines)), "overrides.jsonl")
    assert read_lines.words == table.words
    assert [one.reason for one in read_lines.entries] == [one.reason for one in table.entries]
    assert table.tell() == (
        "overrides.csv drops 1 and corrects 1 items: two cats (1), labels, exchanged (1)"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: expected the columns item,action,value,reason"),
        ("item,action,reason\n", "line 1: expected the columns"),
        (f"{HEAD}a,drop,,why\nb,drop,why\n", "line 3: expected item,action,value,reason, got 3"),
        (f"{HEAD},drop,,why\n", "line 2: 'item' must be a text"),
        (f"{HEAD}a,drop,,\n", "line 2: 'reason' must be a text"),
        (f"{HEAD}a,remove,,why\n", "line 2: 'action' is drop or correct, got 'remove'"),
        (f"{HEAD}a,drop,1,why\n", "line 2: a correction needs a value"),
        (f"{HEAD}a,correct,,why\n", "line 2: a correction needs a value"),
        (f"{HEAD}a,drop,,why\na,correct,1,why\n", "line 3: item 'a' is there twice"),
        (f'{HEAD}"a,drop,,why\n', "line 2: "),
    ],
)
def test_a_table_that_is_broken(text, told, tmp_path):
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    assert f"{tmp_path}/overrides.csv, {told}" in str(error.value)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ([], "line 1: expected an object of item, action, value, reason"),
        ({"item": "a", "action": "drop"}, "line 1: expected an object"),
        ({"item": "a", "action": "drop", "reason": "b", "by": "me"}, "'by' is none of item"),
        ({"item": 1, "action": "drop", "reason": "b"}, "'item' must be a text, got 1"),
    ],
)
def test_lines_that_are_broken(row, told, tmp_path):
    with pytest.raises(UserError, match=r"overrides\.jsonl, line 1") as error:
        read(tmp_path, json.dumps(row), "overrides.jsonl")
    assert told in str(error.value)


def test_one_file_is_enough(tmp_path):
    (tmp_path / "overrides.jsonl").write_text("")
    with pytest.raises(UserError, match=r"overrides.csv and overrides.jsonl: keep one of them"):
        read(tmp_path, HEAD)


def test_items_are_chosen_by_name(tmp_path):
    overrides = read(tmp_path, f"{HEAD}b,drop,,why\nc,correct,1,why\n")
    kept, corrections = overrides.select(["a", "b", "c"])
    assert kept == [0, 2]
    assert {place: one.value for place, one in corrections.items()} == {2: "1"}
    with pytest.raises(UserError, match=r"line 2: item 'b' must be one of the set, but there is"):
        overrides.select(["a", "c"])
    with pytest.raises(UserError, match="but several are called so"):
        overrides.select(["b", "b", "c"])
    with pytest.raises(UserError, match="drops every item"):
        read(tmp_path, f"{HEAD}b,drop,,why\n").select(["b"])


def test_a_set_keeps_its_fingerprint(tmp_path):
    folder = write_mmvp(tmp_path / "set")
    before = open_set(folder).fingerprint
    read(folder, f"{HEAD}1-2,drop,,why\n")
    dataset = open_set(folder)
    assert dataset.fingerprint == before
    assert len(dataset.overrides.entries) == 1
