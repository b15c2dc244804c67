"""What `shards` may mean: all of it is listed, or a sentence says what is wrong."""

import os
import re

import pytest
from fsspec.implementations.local import LocalFileSystem

from dcr.data.shards import find_shards, list_shards
from dcr.errors import UserError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def folder(tmp_path):
    return touch(
        tmp_path / "in", "00001.tar", "00000.tar", "00002.tar", "00000.parquet", "00000_stats.json"
    )


def names(source):
    return [shard.rsplit("/", 1)[1] for shard in list_shards(source)]


def test_a_folder_names_its_tars_in_order(folder):
    assert names(str(folder)) == names(f"{folder}/") == ["00000.tar", "00001.tar", "00002.tar"]
    assert find_shards(str(folder)).describe() == "3 shards"


def test_glob_braces_file_and_list_name_shards(folder):
    assert names(f"{folder}/0000[12].tar") == ["00001.tar", "00002.tar"]
    assert names(f"{folder}/*.tar") == ["00000.tar", "00001.tar", "00002.tar"]
    assert names(f"{folder}/{{00000..00001}}.tar") == ["00000.tar", "00001.tar"]
    assert names(f"{folder}/{{00002,00000}}.tar") == ["00002.tar", "00000.tar"]
    assert names(f"{folder}/00002.tar") == ["00002.tar"]
    assert names([f"{folder}/00002.tar", f"{folder}/00000.tar"]) == ["00002.tar", "00000.tar"]


def test_places_joined_as_webdataset_and_open_clip_join_them_are_all_read(folder, tmp_path):
    touch(tmp_path / "more", "1.tar")
    assert names(f"{folder}/{{00000..00001}}.tar::{tmp_path}/more") == [
        "00000.tar",
        "00001.tar",
        "1.tar",
    ]
    assert names(f"\n{folder}/00000.tar :: {tmp_path}/more/*.tar\n") == ["00000.tar", "1.tar"]


@pytest.mark.parametrize("separator", [",", ";", " ", "\n", ", ", "|"])
def test_places_joined_by_anything_else_are_refused_with_the_way_to_write_them(folder, separator):
    for pattern in ("00000.tar", "*.tar", "{00000..00001}.tar"):
        with pytest.raises(UserError, match=re.escape("several places are a list, shards: [a, b]")):
            list_shards(f"{folder}/{pattern}{separator}{folder}/00002.tar")


def test_a_path_that_has_such_a_mark_in_its_name_is_that_path(tmp_path):
    touch(tmp_path / "a, b; c", "0.tar")
    assert names(str(tmp_path / "a, b; c")) == ["0.tar"]


@pytest.mark.parametrize("command", ["pipe:cat 0.tar", "a/0.tar::pipe:aws s3 cp s3://b/0.tar -"])
def test_commands_are_not_run(command):
    with pytest.raises(UserError, match=r"commands .* are not run"):
        list_shards(command)


@pytest.mark.parametrize("name", ["[1]", "set{1}", "{a,b}", "x*", "what?", "[!0]", "a{b"])
def test_a_folder_with_the_marks_of_patterns_in_its_name_is_that_folder(tmp_path, name):
    """Beside it lie folders which the name would match as a pattern."""
    touch(tmp_path, f"{name}/in/00000.tar", f"{name}/in/00001.tar")
    touch(tmp_path, "1/in/5.tar", "set1/in/5.tar", "a/in/5.tar", "xy/in/5.tar", "whats/in/5.tar")
    for pattern in ("in", "in/*.tar", "*/*.tar", "in/{00000..00001}.tar", "in/0000[01].tar"):
        found = list_shards(f"{tmp_path}/{name}/{pattern}")
        assert found == [f"{tmp_path}/{name}/in/0000{number}.tar" for number in (0, 1)]


@pytest.mark.parametrize(
    "extension", [".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".TAR.XZ", ".tar.lz4"]
)
def test_compressed_tars_are_not_passed_over_in_silence(folder, extension):
    touch(folder, *(f"0000{number}{extension}" for number in range(3, 8)))
    for source in (str(folder), f"{folder}/*", f"{folder}/00004{extension}"):
        with pytest.raises(UserError, match=r"tars are compressed .*unpack them"):
            list_shards(source)
    with pytest.raises(
        UserError, match=re.escape(f"5 of the tars are compressed ({folder}/00003{extension}, ")
    ):
        list_shards(str(folder))
    assert len(list_shards(f"{folder}/*.tar")) == 3


def test_gaps_in_a_pattern_are_counted_and_the_first_named(folder):
    with pytest.raises(UserError) as error:
        list_shards(f"{folder}/{{00001..00331}}.tar")
    assert "329 of the 331 that it names are missing (00003.tar, 00004.tar, 00005.tar, ...)" in str(
        error.value
    )
    with pytest.raises(
        UserError, match=r"1 of the 2 that it names are missing \(nothing/\*\.tar\)"
    ):
        list_shards(f"{folder.parent}/{{in,nothing}}/*.tar")


def test_a_shard_that_is_named_twice_is_listed_once_and_told(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    listing = find_shards(
        [str(folder), f"{folder}/00000.tar", f"{folder}/../in/00001.tar", str(tmp_path / "link")]
    )
    assert len(listing.shards) == 3
    assert listing.describe() == "3 shards; passed over: named twice 5"


def test_what_is_passed_over_is_counted(folder):
    touch(
        folder,
        ".00000.tar",
        "._00000.tar",
        ".DS_Store",
        "notes.txt",
        "00003.tar.part",
        "old/00000.tar",
    )
    assert (
        find_shards(str(folder)).describe()
        == "3 shards; passed over: hidden files 3, other files 2, folders 1"
    )
    assert (
        find_shards(f"{folder}/*").describe()
        == "4 shards; passed over: hidden files 3, other files 2"
    )


def test_tars_in_folders_of_the_folder_alone_are_named(tmp_path):
    touch(tmp_path, "train/a/00000.tar", "train/b/00000.tar", "train/README.md")
    with pytest.raises(
        UserError, match=re.escape(f"lie in folders of it ({tmp_path}/train/a); name them as")
    ) as error:
        list_shards(str(tmp_path / "train"))
    advised = str(error.value).rpartition(" ")[2]
    assert len(list_shards(advised)) == len(list_shards(f"{tmp_path}/train/**/*.tar")) == 2
    assert len(list_shards(f"{tmp_path}/train/*")) == 2


def test_a_folder_without_tars_is_told_by_what_it_holds(tmp_path):
    touch(tmp_path, "a.parquet", "b.parquet", "c.jpg")
    with pytest.raises(
        UserError, match=r"it holds 2 \.parquet, 1 \.jpg, and shards are \.tar files"
    ):
        list_shards(str(tmp_path))
    with pytest.raises(UserError, match=r"a\.parquet is no \.tar"):
        list_shards(str(tmp_path / "a.parquet"))


def test_links_are_read_and_links_to_nothing_are_named(folder, tmp_path):
    touch(tmp_path / "blobs", "abcdef")
    (folder / "00003.tar").symlink_to(tmp_path / "blobs" / "abcdef")
    (tmp_path / "linked").symlink_to(folder)
    assert len(list_shards(str(folder))) == len(list_shards(str(tmp_path / "linked"))) == 4
    os.unlink(tmp_path / "blobs" / "abcdef")
    for source in (str(folder), f"{folder}/*.tar"):
        with pytest.raises(UserError, match=r"00003\.tar is a link to a file that is not there"):
            list_shards(source)


def test_tars_in_a_linked_folder_of_the_folder_are_found_as_the_advice_names_them(folder, tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "link").symlink_to(folder)
    with pytest.raises(UserError, match="lie in folders of it") as error:
        list_shards(str(tmp_path / "all"))
    advised = str(error.value).rpartition(" ")[2]
    assert list_shards(advised) == [f"{tmp_path}/all/link/0000{number}.tar" for number in range(3)]


def test_upper_case_names_are_tars(tmp_path):
    touch(tmp_path, "A.TAR", "b.Tar")
    assert names(str(tmp_path)) == ["A.TAR", "b.Tar"]


def test_fsspec_urls_name_shards():
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/bucket/00000.tar": b"", "/bucket/00001.tar": b"", "/bucket/x.txt": b""})
    both = ["memory:///bucket/00000.tar", "memory:///bucket/00001.tar"]
    for source in (
        "memory://bucket",
        "memory://bucket/*.tar",
        "memory://bucket/{00000..00001}.tar",
    ):
        assert list_shards(source) == both
    assert list_shards("memory://bucket/00000.tar::memory://bucket") == both
    memory.rm("/bucket", recursive=True)


def test_a_folder_behind_http_names_its_tars(folder):
    """As a web server shows it, a page of links."""
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(folder.parent))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/in"
        assert (
            names(f"{url}/")
            == names(f"{url}/{{00000..00002}}.tar")
            == ["00000.tar", "00001.tar", "00002.tar"]
        )
        with pytest.raises(UserError, match=r"2 of the 4 that it names are missing"):
            list_shards(f"{url}/{{00001..00004}}.tar")
        server.shutdown()


@pytest.mark.parametrize("missing", ["nowhere", "*.tgz", "{00000..00003}.tar", "empty"])
def test_what_names_no_shard_is_an_error_that_names_it(folder, missing):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=r"^no shard at"):
        list_shards(f"{folder}/{missing}")


def test_unbalanced_braces_an_empty_list_and_what_is_no_text_are_errors():
    with pytest.raises(UserError, match="unbalanced braces"):
        list_shards("name-{0..3.tar")
    with pytest.raises(UserError, match="no shards"):
        list_shards([])
    for source in ("", " ", [None], [3]):
        with pytest.raises(UserError, match="names no place"):
            list_shards(source)


def test_a_folder_that_cannot_be_listed_is_no_empty_one(folder, monkeypatch):
    touch(folder, "a/0.tar", "b/0.tar")
    look = LocalFileSystem.ls

    def refuse(self, path, *arguments, **options):
        if path.rstrip("/") == f"{folder}/b":
            raise PermissionError(13, "Permission denied", path)
        return look(self, path, *arguments, **options)

    monkeypatch.setattr(LocalFileSystem, "ls", refuse)
    for pattern in ("*/*.tar", "**/*.tar", "b/*.tar"):
        with pytest.raises(UserError, match=r"cannot be listed: .*Permission denied.*/b'"):
            list_shards(f"{folder}/{pattern}")
    assert names(f"{folder}/a/*.tar") == ["0.tar"]


@pytest.mark.parametrize("name", ["a\0b", "a\0/*.tar"])
def test_a_name_that_no_file_can_have_is_an_error_in_one_sentence(folder, name):
    with pytest.raises(UserError, match=r"cannot be listed: .*null (byte|character)"):
        list_shards(f"{folder}/{name}")


@pytest.mark.parametrize("source", ["nosuch://x", "simplecache::memory://bucket/0.tar"])
def test_what_cannot_be_listed_is_an_error(source):
    with pytest.raises(UserError, match=f"shards {source!r}"):
        list_shards(source)
