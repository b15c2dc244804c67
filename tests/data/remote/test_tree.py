"""What globs match in a file system, and what it is asked for that."""

from collections import Counter

import pytest
from fsspec.implementations.local import LocalFileSystem

from dcr.data.remote import Tree


def matched(folder, pattern):
    """Return the paths that a pattern matches in a folder, relative to it, sorted."""
    found = Tree(str(folder)).glob(str(folder), pattern)
    return sorted(path.removeprefix(f"{folder}/") for path in found)


@pytest.fixture
def folder(tmp_path):
    for name in ("a/0.tar", "a/b/1.tar", "c/2.tar"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    return tmp_path / "in"


@pytest.mark.parametrize("pattern", ["*/*.tar", "l*/*.tar", "lin[k]/*", "**/l*/*.tar"])
def test_a_part_of_a_glob_goes_into_a_linked_folder_as_its_name_would(folder, tmp_path, pattern):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "3.tar").touch()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "lost").symlink_to(tmp_path / "nowhere")
    (folder / "lone.tar").symlink_to(folder / "a" / "0.tar")
    assert matched(folder, "link/*.tar") == ["link/3.tar"]
    assert "link/3.tar" in matched(folder, pattern)


def test_any_number_of_folders_are_such_as_lie_there_so_that_a_loop_ends(folder):
    (folder / "a" / "up").symlink_to(folder)
    assert matched(folder, "**/*.tar") == ["a/0.tar", "a/b/1.tar", "c/2.tar"]
    assert matched(folder, "**/u*/**/2.tar") == ["a/up/c/2.tar"]


@pytest.mark.parametrize("pattern", ["**/*", "**/*.tar", "**/nothing*"])
def test_any_number_of_folders_are_listed_once_each(folder, monkeypatch, pattern):
    listed = Counter()
    look = LocalFileSystem.ls

    def count(self, path, *arguments, **options):
        listed[path] += 1
        return look(self, path, *arguments, **options)

    monkeypatch.setattr(LocalFileSystem, "ls", count)
    matched(folder, pattern)
    there = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    assert listed == Counter(map(str, there))
