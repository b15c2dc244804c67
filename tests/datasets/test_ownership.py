"""A folder is replaced only by whoever made all that is in it."""

import os
import shutil
import subprocess

import pytest

from dcr.datasets.ownership import check_ours, owned_folder
from dcr.errors import UserError
from dcr.files import RECORD, sha256_folder


def make(target, **contents):
    with owned_folder(target) as folder:
        for name, text in contents.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


@pytest.fixture
def made(tmp_path):
    make(tmp_path / "made", a="1", deep__b="2")
    return tmp_path / "made"


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != RECORD
    }


def refused(folder, *words):
    before = contents(folder)
    with pytest.raises(UserError, match=r"is not overwritten: .*globals\.yml") as told:
        check_ours(folder)
    with pytest.raises(UserError):
        make(folder, new="3")
    assert contents(folder) == before
    assert all(word in str(told.value) for word in (str(folder), *words))
    return True


def test_an_absent_an_empty_and_a_made_folder_are_written(tmp_path, made):
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "absent", tmp_path / "empty", made):
        make(target, new="3")
        assert contents(target) == {"new": b"3"}


def test_what_others_made_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a").write_text("1")
    assert refused(tmp_path / "theirs", "a in it is not on the record of what this project made")


@pytest.mark.parametrize("name", ["notes.txt", "deep/notes.txt", ".hidden"])
def test_a_file_that_the_user_added_is_refused(made, name):
    (made / name).write_text("mine")
    assert refused(made, f"{name} in it is not on the record of what this project made")


def test_a_file_that_the_user_changed_is_refused_though_name_and_size_are_the_same(made):
    (made / "a").write_text("7")
    assert refused(made, "a in it has been changed")


def test_links_that_the_user_added_are_refused_and_what_they_lead_to_stays(tmp_path, made):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").write_text("1")
    (made / "link").symlink_to(tmp_path / "elsewhere")
    assert refused(made, "link in it")
    (made / "link").unlink()
    (made / "dangling").symlink_to("nowhere")
    assert refused(made, "dangling in it")


def test_a_link_to_what_the_user_has_elsewhere_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a").write_text("1")
    (tmp_path / "link").symlink_to("theirs")
    assert refused(tmp_path / "link")
    assert (tmp_path / "theirs" / "a").read_text() == "1"


def test_a_file_where_a_folder_is_due_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file where a folder is to be written"):
        make(tmp_path / "file", a="1")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_lost_files_or_was_copied_is_still_ours(tmp_path, made):
    shutil.copytree(made, tmp_path / "copy")
    (tmp_path / "copy" / "a").unlink()
    make(tmp_path / "copy", new="3")
    assert contents(tmp_path / "copy") == {"new": b"3"}


def test_the_record_is_what_sha256sum_reads_equal_in_every_run_and_no_part_of_the_folders_hash(
    made,
):
    subprocess.run(
        ["sha256sum", "--check", "--strict", RECORD], cwd=made, check=True, capture_output=True
    )
    before, hashed = (made / RECORD).read_bytes(), sha256_folder(made)
    make(made, a="1", deep__b="2")
    assert (made / RECORD).read_bytes() == before
    os.unlink(made / RECORD)
    assert sha256_folder(made) == hashed


def test_a_mount_point_is_ours_at_every_moment_of_its_filling(made, monkeypatch):
    """Its contents are exchanged one by one, and each that lies there after a kill is on record."""
    from dcr import replacing
    from dcr.datasets import ownership

    monkeypatch.setattr(ownership, "is_mount", lambda path: path == made)
    monkeypatch.setattr("dcr.files.is_mount", lambda path: path == made)
    replace, states = os.replace, []

    def watch(old, new):
        check_ours(made)
        replace(old, new)
        check_ours(made)
        states.append(contents(made))

    monkeypatch.setattr(replacing.os, "replace", watch)
    make(made, a="new", c="3")
    assert len(states) > 3
    assert contents(made) == {"a": b"new", "c": b"3"}
