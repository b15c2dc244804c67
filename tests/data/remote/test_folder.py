"""Files are written to a folder elsewhere, which is there; what goes wrong is told as it is."""

import time
from uuid import uuid4

import pytest

from dcr.data.remote import Folder, RemoteSettings, use_settings
from dcr.errors import UserError
from remote_stores import connect_s3


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"text")
    return path


@pytest.fixture
def files(s3_port, remote_cache, monkeypatch):
    return connect_s3(monkeypatch, s3_port)


def test_what_is_sent_is_listed_fetched_and_removed(files, tmp_path, source):
    files.mkdir(bucket := f"bucket-{uuid4()}")
    for url in (f"s3://{bucket}/mine", str(tmp_path / "elsewhere")):
        folder = Folder(url, "place")
        assert folder.names("a") == []
        folder.send(source, "a/b/file")
        assert folder.names("a") == ["b"]
        folder.fetch("a/b/file", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"text"
        folder.remove("a/b")
        folder.remove("a/b")
        assert folder.names("a") == []


def test_each_fetch_looks_the_file_up_once_and_brings_what_is_there_then(serve, tmp_path):
    (tmp_path / "files").mkdir()
    store = serve("hf", tmp_path / "files")
    folder = Folder(store.url, "place")
    for content in (b"text", b"other text"):
        (tmp_path / "files" / "file").write_bytes(content)
        store.server.requests.clear()
        folder.fetch("file", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == content
        assert len([path for _, path, _ in store.server.requests if "/tree/" in path]) == 1


def test_a_file_is_sent_to_google_where_its_bucket_is_there(serve, tmp_path, source):
    (tmp_path / "files").mkdir()
    store = serve("gs", tmp_path / "files")
    Folder(f"{store.url}/mine", "place").send(source, "a/file")
    assert (tmp_path / "files" / "mine" / "a" / "file").read_bytes() == b"text"
    with pytest.raises(UserError, match="cannot be written: its bucket or repository is not there"):
        Folder("gs://nowhere/mine", "place").send(source, "a/file")
    assert [path for _, path, _ in store.server.requests if path.endswith("/b")] == []


def test_no_bucket_is_made_for_a_name_that_is_misspelt(files, source):
    folder = Folder(url := f"s3://bucket-{uuid4()}/mine", "place")
    with pytest.raises(
        UserError, match=rf"{url}/a/file cannot be written: its bucket or repository is not there"
    ):
        folder.send(source, "a/file")
    assert not files.exists(url.removesuffix("/mine"))


@pytest.mark.parametrize(
    ("act", "action"),
    [
        (lambda folder, path: folder.send(path, "a"), "written"),
        (lambda folder, path: folder.names("a"), "listed"),
        (lambda folder, path: folder.remove("a"), "removed"),
        (lambda folder, path: folder.fetch("a", path), "read"),
    ],
)
def test_a_store_that_does_not_answer_is_told_by_what_was_asked_of_it(
    serve, tmp_path, source, remote_cache, act, action
):
    (tmp_path / "files").mkdir()
    store = serve("s3", tmp_path / "files")
    folder = Folder(store.url, "place")
    store.wire.close()
    use_settings(RemoteSettings(str(remote_cache), 10**9, 2, 0.0))
    with pytest.raises(UserError, match=rf"cannot be {action}, tried 2 times in a row"):
        act(folder, source)


@pytest.mark.parametrize(
    ("act", "action"),
    [
        (lambda folder, path: folder.send(path, "a/file"), "written"),
        (lambda folder, path: folder.names("a"), "listed"),
        (lambda folder, path: folder.fetch("a/file", path), "read"),
    ],
)
def test_what_a_disk_refuses_is_told_at_once(
    tmp_path, source, remote_cache, monkeypatch, act, action
):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    (tmp_path / "file").touch()
    folder = Folder(str(tmp_path / "file"), "place")
    with pytest.raises(UserError, match=rf"place: .*/file/a.* cannot be {action} \(.*irectory"):
        act(folder, source)
    assert waits == []


def test_a_file_here_takes_its_name_when_it_is_whole(tmp_path, source, monkeypatch):
    folder = Folder(str(tmp_path / "elsewhere"), "place")
    folder.send(source, "file")

    def fail(source, target):
        target.write_bytes(b"te")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dcr.data.remote.folder.shutil.copyfile", fail)
    with pytest.raises(UserError, match="No space left on device"):
        folder.send(source, "file")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["file"]
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"text"
