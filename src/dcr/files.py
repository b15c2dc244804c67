"""Writes that are whole or absent, and content hashes."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcr.replacing import (
    follow_links,
    is_mount,
    new_file_mode,
    recover,
    remove_leftovers,
    replace_contents,
    replace_file,
    replace_folder,
    settle,
    temporary_path,
)

RECORD = ".dcr.sha256"
"""In a folder that this project made: the hash of each of its files; see
`dcr.datasets.ownership`.
"""

_CHUNK = 1 << 20


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of an empty temporary file that becomes ``target`` only if the block succeeds.

    Links are written through, the file gets the umask's permissions, and what dead processes left
    half written in its folder is removed.
    """
    target = follow_links(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent)
    temporary = temporary_path(target.parent, target.name)
    mode = new_file_mode(temporary)
    try:
        yield temporary
        settle(temporary, mode)
        replace_file(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces ``target`` only if the block succeeds.

    At every moment the old or the new folder is under the name. Links are written through; a mount
    point cannot be replaced and gets the new contents entry by entry.
    """
    target = follow_links(target)
    mounted = is_mount(target)
    recover(target)
    temporary = temporary_path(target if mounted else target.parent, target.name)
    remove_leftovers(temporary.parent)
    temporary.mkdir(parents=True)
    mode = stat.S_IMODE(temporary.stat().st_mode)
    try:
        yield temporary
        settle(temporary, mode)
        replace_contents(temporary, target, RECORD) if mounted else replace_folder(
            temporary, target
        )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the hex sha256 of the bytes of the file at ``path``, read in chunks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_folder(folder: str | os.PathLike[str]) -> str:
    """Return the hex sha256 over sorted names and contents of a ``folder``, but `RECORD`.

    Names are relative to it.
    """
    folder = Path(folder)
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / RECORD):
        digest.update(f"{path.relative_to(folder).as_posix()}\x00{sha256_file(path)}\n".encode())
    return digest.hexdigest()
