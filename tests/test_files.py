"""Writes are whole or absent; hashes are of names and contents."""

import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys

import pytest

from dcr import replacing
from dcr.files import atomic_folder, atomic_path, sha256_file, sha256_folder
from dcr.replacing import recover
from leftovers import left_by_a_dead_process


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


def test_a_failed_replacement_in_a_folder_of_a_dead_process_is_swept(tmp_path):
    left_by_a_dead_process(tmp_path / "other.txt").write_text("half")
    left_by_a_dead_process(tmp_path / "folder").mkdir()
    (tmp_path / ".my notes.tmp").touch()  # not ours
    with atomic_path(tmp_path / "file.txt") as path:
        path.touch()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".my notes.tmp", "file.txt"]


def test_what_is_being_written_by_others_stays(tmp_path):
    with atomic_path(tmp_path / "one") as one, atomic_folder(tmp_path / "two") as two:
        with atomic_path(tmp_path / "three") as three:
            three.touch()
        assert one.exists()
        assert two.exists()
    # A process of another host writes it.
    elsewhere = tmp_path / f".x.{platform.node()}-2.{2**22 + 1}.{'0' * 8}.0.tmp"
    elsewhere.touch()
    with atomic_path(tmp_path / "one") as one:
        one.touch()
    assert elsewhere.exists()


def test_links_are_written_through(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "file").write_text("old")
    (tmp_path / "disk" / "folder").mkdir()
    for name in ("file", "folder", "absent"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    for name in ("file", "absent"):
        with atomic_path(tmp_path / name) as path:
            path.write_text("new")
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "new").touch()
    assert all((tmp_path / name).is_symlink() for name in ("file", "folder", "absent"))
    assert [(tmp_path / "disk" / name).read_text() for name in ("file", "absent")] == ["new", "new"]
    assert [p.name for p in (tmp_path / "disk" / "folder").iterdir()] == ["new"]
    assert sorted(p.name for p in (tmp_path / "disk").iterdir()) == ["absent", "file", "folder"]


def test_a_link_into_a_store_that_nobody_may_change_is_replaced(tmp_path):
    """DVC with `cache.type symlink` puts such links in the place of outputs."""
    (tmp_path / "cache").write_text("old")
    (tmp_path / "cache").chmod(0o444)
    (tmp_path / "file").symlink_to("cache")
    with atomic_path(tmp_path / "file") as path:
        path.write_text("new")
    assert ((tmp_path / "cache").read_text(), (tmp_path / "file").read_text()) == ("old", "new")


@pytest.mark.parametrize(
    ("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o002, 0o664, 0o775)]
)
def test_files_and_folders_get_the_permissions_of_the_umask(
    tmp_path, umask, file_mode, folder_mode
):
    def write_for_the_owner_alone(path):
        path.unlink(missing_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))  # as safetensors and tempfile do

    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "file") as path:
            write_for_the_owner_alone(path)
        with atomic_folder(tmp_path / "folder") as folder:
            write_for_the_owner_alone(folder / "file")
            os.mkdir(folder / "deep", 0o700)
            write_for_the_owner_alone(folder / "deep" / "file")
    finally:
        os.umask(before)
    modes = {
        str(p.relative_to(tmp_path)): stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")
    }
    assert modes == {
        "file": file_mode, "folder": folder_mode, "folder/file": file_mode,
        "folder/deep": folder_mode, "folder/deep/file": file_mode,
    }  # fmt: skip


def test_at_every_moment_the_old_or_the_new_folder_has_the_name(tmp_path, monkeypatch):
    target, seen = tmp_path / "folder", []
    target.mkdir()
    (target / "old").touch()

    def watched(function):
        def look(*arguments, **options):
            seen.append(os.listdir(target) if target.is_dir() else None)
            function(*arguments, **options)
            seen.append(os.listdir(target) if target.is_dir() else None)

        return look

    for module, name in (
        (os, "rename"),
        (os, "replace"),
        (shutil, "rmtree"),
        (replacing, "sync_folder"),
    ):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    with atomic_folder(target) as folder:
        (folder / "new").touch()
    assert seen[0] == ["old"]
    assert seen[-1] == ["new"]
    assert all(state in (["old"], ["new"]) for state in seen)


def test_a_system_without_exchange_brings_the_old_folder_back_after_a_kill(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    monkeypatch.setattr(replacing, "exchange", lambda *_: False)
    for name in ("one", "two"):
        with atomic_folder(target) as folder:
            (folder / name).touch()
    assert [p.name for p in target.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [target]

    os.rename(target, tmp_path / ".folder.old")  # a kill between the two renames
    recover(target)
    assert [p.name for p in target.iterdir()] == ["two"]
    with atomic_folder(target) as folder:
        (folder / "three").touch()
    assert [p.name for p in target.iterdir()] == ["three"]


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], check=False).returncode != 0, reason="needs unshare"
)
def test_a_mount_point_gets_the_new_contents(tmp_path):
    script = """
import os, subprocess, sys
from dcr.files import atomic_folder, atomic_path
os.makedirs("disk"), os.makedirs("folder/sub")
open("disk-file", "w").close(), open("file", "w").close()
subprocess.run(["mount", "--bind", "disk", "folder"], check=True)
subprocess.run(["mount", "--bind", "disk-file", "file"], check=True)
for name in ("old", "new"):
    with atomic_folder("folder") as folder:
        (folder / name).mkdir()
        (folder / name / "deep").touch()
        (folder / "both").write_text(name)
    with atomic_path("file") as path:
        path.write_text(name)
"""
    command = ["unshare", "-rm", sys.executable, "-c", script]
    subprocess.run(
        command,
        cwd=tmp_path,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found = sorted(str(p.relative_to(tmp_path / "disk")) for p in (tmp_path / "disk").rglob("*"))
    assert found == ["both", "new", "new/deep"]
    assert ((tmp_path / "disk" / "both").read_text(), (tmp_path / "disk-file").read_text()) == (
        "new",
        "new",
    )
