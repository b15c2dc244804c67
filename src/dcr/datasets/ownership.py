"""What this project made, and what is the user's.

A folder is only replaced by whoever made all that is in it. The project's folders carry a record of
their files, `dcr.files.RECORD`, which ``sha256sum -c`` reads. It lies in the folder, so it goes
wherever the folder goes; hashes of folders leave it out.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcr.errors import UserError
from dcr.files import RECORD, atomic_folder, atomic_path, sha256_file
from dcr.progress import show_progress
from dcr.replacing import follow_links, is_mount, is_temporary


@contextmanager
def owned_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder that replaces ``target``, with a record of what is in it.

    It does so as `atomic_folder` does.

    Raises:
        UserError: ``target`` holds something that this project did not make.
    """
    check_ours(target)
    with atomic_folder(target) as temporary:
        yield temporary
        record = "".join(f"{sha256_file(path)}  {name}\n" for name, path in _files(temporary))
        (temporary / RECORD).write_text(record, encoding="utf-8", errors="surrogateescape")
        # It is filled entry by entry: whatever a kill leaves must be on record.
        if is_mount(follow_links(target)):
            _extend_record(Path(target), record)


def _extend_record(folder: Path, more: str) -> None:
    known = "".join(
        f"{digest}  {name}\n"
        for name, digests in _read_record(folder).items()
        for digest in digests
    )
    with atomic_path(folder / RECORD) as temporary:
        temporary.write_text(known + more, encoding="utf-8", errors="surrogateescape")


def check_ours(folder: str | os.PathLike[str]) -> None:
    """Return if ``folder`` is absent, empty, or as this project left it; every file is read.

    Raises:
        UserError: there is something else, which writing would destroy.
    """
    place = follow_links(folder)
    if not place.exists():
        return
    if not place.is_dir():
        raise UserError(
            f"{folder} is a file where a folder is to be written: move it away, or name another"
            " path"
        )
    record = _read_record(place)
    for name, path in _files(place):
        if path.is_file() and sha256_file(path) in record.get(name, ()):
            continue
        what = (
            "has been changed"
            if name in record
            else "is not on the record of what this project made"
        )
        raise UserError(
            f"{folder} is not overwritten: {name} in it {what}; move it away, name another path in"
            " the recipe's globals.yml, or take the pipeline that writes there off the run"
        )


def recorded_files(folder: Path) -> dict[str, Path]:
    """Return the files that a folder's record names, by name; each is read and must be as it was.

    Args:
        folder: that this project made.

    Raises:
        UserError: there is no record, or what it names leads elsewhere, is absent or was changed.
    """
    root = folder.resolve()
    named = {name: digests for name, digests in _read_record(folder).items() if name}
    if not named:
        raise UserError(
            f"{folder} has no list of its files, {RECORD}, as what this project made has"
        )
    found = {}
    for name, digests in show_progress(sorted(named.items()), desc="check files", unit="file"):
        path = root / name
        if path.resolve() != path or not path.is_relative_to(root):
            raise UserError(f"{folder}: {name} leads out of it, or is a link")
        if not path.is_file() or sha256_file(path) not in digests:
            raise UserError(f"{folder}: {name} is not there as this project made it")
        found[name] = path
    return found


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield relative name and path of every non-folder, save the record and temporaries."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_temporary(name))
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in sorted([*names, *links]):
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            if relative != RECORD and not is_temporary(name):
                yield relative, path


def _read_record(folder: Path) -> dict[str, set[str]]:
    """Return the hashes that each file may have; no file may have any where there is no record."""
    record: dict[str, set[str]] = defaultdict(set)
    try:
        lines = (folder / RECORD).read_bytes().decode("utf-8", "surrogateescape").split("\n")
    except (FileNotFoundError, IsADirectoryError):
        return record
    for line in lines:
        digest, _, name = line.partition("  ")
        record[name].add(digest)
    return record
