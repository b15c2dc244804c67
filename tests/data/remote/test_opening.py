"""Remote files have the bytes of local ones, whatever becomes of the connections."""

import os
import socket
import sys
import time
from importlib import import_module

import pytest

from dcr.data.remote import NoSize, RemoteSettings, look_up, open_file, use_settings
from dcr.data.remote.objects import RangeReader
from dcr.data.shards import list_shards
from dcr.errors import UserError
from remote_stores import COMMIT


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    for number in range(2):
        (tmp_path / "files" / f"{number:05d}.tar").write_bytes(os.urandom(300_000))
    return tmp_path / "files"


def content(url, whole=True):
    with open_file(url, whole) as file:
        return file.read()


def test_a_local_file_is_opened_as_it_is(folder, remote_cache):
    path = folder / "00000.tar"
    assert content(str(path)) == content(f"file://{path}") == path.read_bytes()
    assert not remote_cache.exists()


@pytest.mark.parametrize("kind", ["http", "s3", "gs", "hf"])
def test_a_file_is_that_which_was_stored(serve, folder, kind):
    """Of gs:// and hf:// their own file system classes ask stand-ins of the stores' interfaces."""
    store = serve(kind, folder)
    for path, whole in zip(sorted(folder.iterdir()), (True, False), strict=True):
        assert content(f"{store.url}/{path.name}", whole) == path.read_bytes()


@pytest.mark.parametrize("kind", ["http", "s3", "gs", "hf"])
def test_braces_globs_and_folders_name_the_same_shards(serve, folder, kind):
    url = serve(kind, folder).url
    named = [f"{url}/{path.name}" for path in sorted(folder.iterdir())]
    for pattern in (f"{url}/{{00000..00001}}.tar", f"{url}/*.tar", f"{url}/"):
        assert list_shards(pattern) == named
    with pytest.raises(UserError, match=r"1 of the 3 that it names are missing \(00002\.tar\)"):
        list_shards(f"{url}/{{00000..00002}}.tar")


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_connections_that_are_cut_at_random_change_nothing(serve, folder, kind):
    store = serve(kind, folder, seed=1)
    for path, whole in zip(sorted(folder.iterdir()), (True, False), strict=True):
        assert content(f"{store.url}/{path.name}", whole) == path.read_bytes()
    assert store.wire.num_cut > 3


def test_reading_goes_on_where_it_broke(serve, folder):
    store = serve("http", folder, seed=2)
    assert content(f"{store.url}/00000.tar") == (folder / "00000.tar").read_bytes()
    assert store.wire.num_cut > 3
    ranges = [asked for _, _, asked in store.server.requests if asked]
    starts = [int(asked.removeprefix("bytes=").partition("-")[0]) for asked in ranges]
    assert starts == sorted(starts)
    assert len(set(starts)) > 3


def lengths(server):
    """Return how many bytes each request for a range asked for."""
    asked = [asked.removeprefix("bytes=").split("-") for _, _, asked in server.requests if asked]
    return [int(end) - int(start) + 1 for start, end in asked]


def test_a_file_that_could_not_be_opened_at_once_is_read_in_requests_as_long_as_others(
    serve, folder
):
    store = serve("http", folder)
    reader = RangeReader(look_up(f"{store.url}/00000.tar"))
    store.server.busy = {"/00000.tar": 4}
    assert reader.read_all(0, 300_000) == (folder / "00000.tar").read_bytes()
    assert lengths(store.server) == [300_000]


def test_requests_are_longer_again_once_an_outage_is_over(serve, folder):
    store = serve("http", folder)
    reader = RangeReader(look_up(f"{store.url}/00000.tar"))
    reader.read(0, 10)
    store.server.busy = {"/00000.tar": 6}
    store.server.requests.clear()
    assert reader.read_all(0, 300_000) == (folder / "00000.tar").read_bytes()
    after = lengths(store.server)[6:]
    assert after[0] == 16 << 10
    assert max(after) == 32 << 10


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("pattern", ["{00000..00001}.tar", "00001.tar", "*.tar", "", "*/00001.tar"])
def test_a_busy_server_is_asked_again_and_not_taken_for_one_that_lacks_a_shard(
    serve, folder, pattern, status
):
    (folder / "in").mkdir()
    (folder / "in" / "00001.tar").touch()
    store = serve("http", folder)
    before = list_shards(f"{store.url}/{pattern}")
    store.server.busy_status = status
    store.server.busy = dict.fromkeys(["/00001.tar", "/", "/in/", "/in", "/in/00001.tar"], 4)
    assert list_shards(f"{store.url}/{pattern}") == before


def test_a_server_that_stays_busy_is_told_as_such_and_with_no_word_of_missing_shards(
    serve, folder, remote_cache
):
    store = serve("http", folder)
    store.server.busy = {"/00001.tar": 1000}
    use_settings(RemoteSettings(str(remote_cache), 10**9, 2, 0.0))
    with pytest.raises(
        UserError, match=r"shards '.*' cannot be read, tried 2 times in a row .*503"
    ):
        list_shards(f"{store.url}/{{00000..00001}}.tar")


@pytest.mark.parametrize(
    ("revision", "num_listings"), [(f"@{COMMIT}", 1), ("", 7)], ids=["commit", "branch"]
)
def test_the_hub_lists_a_folder_once_where_a_commit_is_named(serve, folder, revision, num_listings):
    """Of a branch it does so whenever it matters what is there: looked up, opened, fetched."""
    store = serve("hf", folder)
    urls = list_shards(f"{store.url}{revision}/{{00000..00001}}.tar")
    for url in urls:
        look_up(url)
        content(url)
    listed = [path for _, path, _ in store.server.requests if "/tree/" in path]
    assert len(listed) == num_listings


@pytest.mark.parametrize("kind", ["http", "s3", "gs", "hf"])
def test_what_is_read_once_is_on_this_machine(serve, folder, kind):
    store = serve(kind, folder)
    url = f"{store.url}/00000.tar"
    first = content(url)
    store.wire.close()
    assert content(url) == content(url, whole=False) == first


def test_of_a_file_that_is_not_wanted_whole_only_what_is_read_comes(serve, folder, remote_cache):
    store = serve("http", folder)
    with open_file(f"{store.url}/00000.tar", whole=False) as file:
        file.seek(1000)
        assert file.read(10) == (folder / "00000.tar").read_bytes()[1000:1010]
    assert not remote_cache.exists()
    (asked,) = [asked for _, _, asked in store.server.requests if asked]
    assert asked.startswith("bytes=1000-")
    assert int(asked.rpartition("-")[2]) < 299_999


def test_a_file_that_changed_since_it_was_looked_up_is_not_read_by_ranges(serve, folder):
    store = serve("http", folder)
    url = f"{store.url}/00000.tar"
    content(url, whole=False)
    (folder / "00000.tar").write_bytes(os.urandom(300_000))
    with pytest.raises(UserError, match=r"00000\.tar changed while this run reads it: run again"):
        content(url, whole=False)


class TestWhatCannotBeRead:
    @pytest.mark.parametrize("kind", ["http", "s3", "gs", "hf"])
    def test_an_absent_file_is_told_at_once(self, serve, folder, kind):
        url = f"{serve(kind, folder).url}/nowhere.tar"
        with pytest.raises(UserError, match=r"nowhere\.tar is not there: was it moved"):
            look_up(url)

    @pytest.mark.parametrize("kind", ["http", "s3", "gs", "hf"])
    def test_an_object_that_vanished_since_it_was_listed_is_told_in_one_sentence(
        self, serve, folder, kind
    ):
        store = serve(kind, folder)
        listed = list_shards(f"{store.url}/{{00000..00001}}.tar")[1]
        if store.server is None:
            bucket = listed.removeprefix("s3://")
            sys.modules["s3fs"].S3FileSystem().rm_file(bucket)
        else:
            (folder / "00001.tar").unlink()
        for whole in (True, False):
            with pytest.raises(UserError, match=r"^\S*00001\.tar is not there: was it moved"):
                open_file(listed, whole)

    @pytest.mark.parametrize("status", [401, 403])
    def test_credentials_that_google_refuses_are_told_with_what_to_set(
        self, serve, folder, monkeypatch, status
    ):
        waits = []
        store = serve("gs", folder)
        store.server.refusal = status
        monkeypatch.setattr(time, "sleep", waits.append)
        sentence = (
            r"without credentials \(.* does not have .*\): set GOOGLE_APPLICATION_CREDENTIALS"
        )
        for refuse in (look_up, list_shards):
            with pytest.raises(UserError, match=sentence):
                refuse(f"{store.url}/00000.tar")
        assert [wait for wait in waits if wait >= 1] == []

    @pytest.mark.parametrize("kind", ["http", "s3"])
    def test_a_server_that_is_gone_is_asked_again_and_told_in_one_sentence(
        self, serve, folder, remote_cache, kind, monkeypatch
    ):
        store = serve(kind, folder)
        store.wire.close()
        waits = []
        monkeypatch.setattr(time, "sleep", waits.append)
        use_settings(RemoteSettings(str(remote_cache), 10**9, 4, first_wait_seconds=30.0))
        sentence = r"00000\.tar cannot be read, tried 4 times in a row \(.*\): what is finished is"
        with pytest.raises(UserError, match=sentence):
            look_up(f"{store.url}/00000.tar")
        assert [wait for wait in waits if wait >= 30] == [30, 60, 60]

    def test_missing_credentials_are_named(self, serve, folder, monkeypatch):
        import s3fs

        url = serve("s3", folder).url
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(UserError, match=r"without credentials .*: set AWS_ACCESS_KEY_ID"):
            look_up(f"{url}/00000.tar")

    @pytest.mark.parametrize(
        ("url", "module", "extra"),
        [("s3://bucket/0.tar", "s3fs", "s3"), ("gs://bucket/0.tar", "gcsfs", "gs")],
    )
    def test_a_missing_extra_is_named(self, remote_cache, monkeypatch, url, module, extra):
        monkeypatch.setitem(sys.modules, module, None)
        import_module("fsspec.registry")
        for protocol in ("s3", "gs"):  # whose class may have been imported before
            monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
        with pytest.raises(UserError, match=rf"{module}.*: pip install 'dcr\[{extra}\]'"):
            look_up(url)

    def test_a_server_without_ranges_is_refused_where_they_are_needed(self, tmp_path, remote_cache):
        from functools import partial
        from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
        from threading import Thread

        (tmp_path / "0.tar").write_bytes(os.urandom(700_000))
        handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/0.tar"
            with (
                open_file(url, whole=False) as file,
                pytest.raises(UserError, match="range requests"),
            ):
                file.seek(600_000)
                file.read(10)
            server.shutdown()

    def test_a_file_whose_size_the_server_does_not_tell_is_refused_with_what_to_do(
        self, serve, folder
    ):
        store = serve("http", folder)
        store.server.sizeless = {"/00000.tar"}
        for read in (look_up, content):
            with pytest.raises(NoSize, match=r"00000\.tar .* size \(no Content-Length\).*copy the"):
                read(f"{store.url}/00000.tar")
        assert content(f"{store.url}/00001.tar") == (folder / "00001.tar").read_bytes()

    @pytest.mark.parametrize(
        "url",
        ["https://user:word@host/0.tar", "s3://KEY:word@bucket/0.tar", "https://h/0.tar?key=word"],
    )
    def test_a_url_with_a_secret_is_refused_without_showing_it(self, url):
        for refuse in (look_up, list_shards):
            with pytest.raises(UserError, match="with a login or a query") as told:
                refuse(url)
            assert "word" not in str(told.value)


def test_nothing_answers_for_ever(remote_cache, tmp_path):
    """A connection that is accepted and closed is a failure like any other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/0.tar"
    use_settings(RemoteSettings(str(remote_cache), 10**9, 2, 0.0))
    with pytest.raises(UserError, match="tried 2 times in a row"):
        look_up(url)
