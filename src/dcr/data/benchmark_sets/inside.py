"""Files that a set's annotations name: inside of its folder, and there."""

from __future__ import annotations

import os
from collections.abc import Iterable

from dcr.data.benchmark_sets.files import Folder
from dcr.errors import UserError


def check_path(name: str, where: str, what: str = "image") -> str:
    """Return the path ``name`` of a file in a set's folder, which must not lead out of it.

    Args:
        name: as annotations give it, with slashes.
        where: file and line, for the error.
        what: the file is, for the error.

    Raises:
        UserError: it is absolute, has a step up, or is no path.
    """
    steps = name.split("/")
    if "" in steps or ".." in steps or "\\" in name or "\0" in name or ":" in steps[0]:
        raise UserError(
            f"{where}: {what} {name[:80]!r} must be a path inside the set's folder, such as"
            " images/1.jpg"
        )
    return name


def check_file(folder: Folder, name: str, where: str, what: str = "image") -> None:
    """Refuse a file of a local ``folder`` that is not there; its arguments are `check_path`'s.

    Raises:
        UserError: its path leads out of the folder, or nothing is there.
    """
    check_path(name, where, what)
    if not os.path.isfile(os.path.join(folder.path, name)):
        raise UserError(f"{where}: the {what} {folder.place(name)} is missing")


def tell_links(folder: Folder, names: Iterable[str]) -> list[str]:
    """Say how many files lie behind links, as in hub snapshots, or beside COCO's.

    Args:
        folder: the set's.
        names: of the images in it.
    """
    links = 0
    linked: dict[str, bool] = {"": False}
    for name in names:
        parent = os.path.dirname(name)
        if parent not in linked:
            linked[parent] = any(
                os.path.islink(os.path.join(folder.path, *parent.split("/")[:depth]))
                for depth in range(1, parent.count("/") + 2)
            )
        links += linked[parent] or os.path.islink(os.path.join(folder.path, name))
    return [f"links were followed: {links} image{'s' if links != 1 else ''}"] if links else []
