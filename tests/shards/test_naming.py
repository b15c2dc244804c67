import re

import pytest

from dcr.errors import UserError
from dcr.shards import list_shards, name_shards


@pytest.fixture
def folder(tmp_path):
    for name in ("00001.tar", "00000.tar", "00002.tar", "00000.parquet", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def names(shards):
    return [shard.rsplit("/", 1)[1] for shard in shards]


def test_a_folder_names_its_tars_in_order(folder):
    assert names(list_shards(str(folder))) == ["00000.tar", "00001.tar", "00002.tar"]


def test_glob_braces_file_and_list_name_shards(folder):
    assert names(list_shards(f"{folder}/0000[12].tar")) == ["00001.tar", "00002.tar"]
    assert names(list_shards(f"{folder}/{{00000..00001}}.tar")) == ["00000.tar", "00001.tar"]
    assert names(list_shards(f"{folder}/00002.tar")) == ["00002.tar"]
    assert names(list_shards([f"{folder}/00002.tar", f"{folder}/00000.tar"])) == ["00002.tar", "00000.tar"]


def test_a_shard_named_twice_is_listed_once(folder):
    assert len(list_shards([str(folder), f"{folder}/00000.tar"])) == 3


def test_fsspec_urls_name_shards():
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/00000.tar", b"")
    assert list_shards("memory://bucket") == ["memory:///bucket/00000.tar"]
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize("missing", ["nowhere", "*.tgz", "{00000..00003}.tar", "empty"])
def test_what_names_no_shard_is_an_error_that_names_it(folder, missing):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="no shard at"):
        list_shards(f"{folder}/{missing}")


def test_unbalanced_braces_and_an_empty_list_are_errors():
    with pytest.raises(UserError, match="unbalanced braces"):
        list_shards("name-{0..3.tar")
    with pytest.raises(UserError, match="no shards"):
        list_shards([])


def test_an_unknown_protocol_is_an_error():
    with pytest.raises(UserError, match=re.escape("shards 'nosuch://x' cannot be listed")):
        list_shards("nosuch://x")


def test_shards_are_called_by_their_stem():
    assert name_shards(["/data/00000.tar", "/data/00001.tar"]) == {
        "/data/00000.tar": "00000",
        "/data/00001.tar": "00001",
    }


def test_equal_stems_are_told_apart_by_their_folders():
    shards = ["/x/a/00000.tar", "/x/b/00000.tar"]
    assert list(name_shards(shards).values()) == ["a-00000", "b-00000"]
