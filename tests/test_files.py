"""Writes are whole or absent; hashes are of names and contents."""

import hashlib

import pytest

from dcr.files import atomic_folder, atomic_path, sha256_file, sha256_folder


def test_a_file_appears_only_when_its_block_succeeds(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with atomic_path(target) as path:
        path.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as path:
        path.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "stale").touch()
    with atomic_folder(target) as folder:
        (folder / "fresh").touch()
        assert (target / "stale").exists()
    assert [p.name for p in target.iterdir()] == ["fresh"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "kept").touch()
    with pytest.raises(RuntimeError), atomic_folder(target) as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["kept"]
    assert list(tmp_path.iterdir()) == [target]


def test_hashes_are_sha256_and_see_names_and_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    before = sha256_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = sha256_folder(tmp_path)
    (tmp_path / "b").write_bytes(b"y")
    assert len({before, renamed, sha256_folder(tmp_path)}) == 3
