"""What an earlier run left, or nothing."""

import hashlib

import pytest

from dcr.datasets.records import FolderHashesDataset, RecordDataset
from dcr.files import sha256_folder


def test_a_record_is_what_was_saved_last(tmp_path):
    dataset = RecordDataset(filepath=str(tmp_path / "deep" / "record.json"))
    dataset.save({"a": 1})
    dataset.save({"b": [2, None]})
    assert dataset.load() == {"b": [2, None]}


@pytest.mark.parametrize("content", [None, b"", b"{half", b"[1]", b"\xff"])
def test_what_cannot_be_read_counts_as_nothing(tmp_path, content):
    if content is not None:
        (tmp_path / "record.json").write_bytes(content)
    assert RecordDataset(filepath=str(tmp_path / "record.json")).load() == {}


def test_hashes_are_of_the_folders_as_they_are_now(tmp_path):
    (tmp_path / "there").mkdir()
    dataset = FolderHashesDataset(
        folders={"there": str(tmp_path / "there"), "gone": str(tmp_path / "gone")}
    )
    before = dataset.load()
    assert before == {"there": hashlib.sha256().hexdigest(), "gone": None}
    (tmp_path / "there" / "file").touch()
    assert dataset.load()["there"] == sha256_folder(tmp_path / "there") != before["there"]


def test_places_that_are_no_folder_have_no_hash(tmp_path):
    """A recipe may name its shards as a list or a pattern, and no evaluation set at all."""
    (tmp_path / "a").mkdir()
    folders = {
        "a": str(tmp_path / "a"),
        "list": [str(tmp_path / "a")],
        "none": None,
        "pattern": f"{tmp_path}/*",
    }
    hashes = FolderHashesDataset(folders=folders).load()
    assert {name for name, value in hashes.items() if value is not None} == {"a"}
