"""What lies in a set's folders: class folders, their images, a count of all that is left out."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from dcr.data.benchmark_sets.files import IMAGE_EXTENSIONS
from dcr.errors import UserError

_SYSTEM_FOLDERS = frozenset(
    (
        "__MACOSX",
        "__pycache__",
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
    )
)
_NUM_SHOWN = 3


class Listing:
    """Lists the folders and images of one set, and counts what it leaves out.

    Links to class folders and to images are followed, since that is how hub snapshots and
    selections of larger sets are made. A linked folder inside a class is not: it may lead anywhere,
    and round in circles.

    Args:
        root: the set's folder, to which names are relative.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._left_out: dict[str, dict[str, None]] = defaultdict(dict)
        self._followed: dict[str, set[str]] = defaultdict(set)
        self._deeper: set[str] = set()
        self._told: list[str] = []

    def folders(self, place: Path) -> list[str]:
        """Return the names of folders in ``place``, without hidden ones and systems' or tools'."""
        names = []
        for entry in _entries(place):
            if not entry.is_dir():
                self._skip_file_beside_folders(entry)
            elif self._is_of_the_set(entry, "folder"):
                self._follow("folder", entry)
                names.append(entry.name)
        return names

    def images(self, class_folder: Path) -> list[str]:
        """Return images in and below ``class_folder``, sorted, relative to the root."""
        return sorted(self._walk(class_folder, depth=0))

    def has_images(self, place: Path) -> bool:
        """Tell whether images lie directly in ``place``."""
        return any(_is_image(entry) for entry in _entries(place))

    def notes(self) -> list[str]:
        """Return a sentence on each kind of thing that was left out or followed."""
        notes = [*self._told]
        notes += [
            f"left out: {kind}: {_enumerate(list(names))}"
            for kind, names in sorted(self._left_out.items())
        ]
        if self._followed:
            counts = " and ".join(
                _count(len(names), kind) for kind, names in sorted(self._followed.items())
            )
            notes.append(f"links were followed: {counts}")
        if self._deeper:
            notes.append(
                f"{_count(len(self._deeper), 'image')} from folders inside class folders belong to"
                " that class"
            )
        return notes

    def leave_out(self, kind: str, *names: str) -> None:
        """Count things of one ``kind``, in words, that the caller leaves out.

        ``names`` are relative to the root.
        """
        if names:
            self._left_out[kind] |= dict.fromkeys(names)

    def tell(self, *notes: str) -> None:
        """Put ``notes``, a sentence each, before the others."""
        self._told.extend(notes)

    def _walk(self, place: Path, depth: int) -> Iterator[str]:
        for entry in _entries(place):
            if entry.is_dir():
                if entry.is_symlink():
                    self.leave_out("linked folders inside a class", self._name(entry))
                elif self._is_of_the_set(entry, "folder"):
                    yield from self._walk(Path(entry.path), depth + 1)
            elif self._is_of_the_set(entry, "file") and self._is_readable_image(entry):
                self._follow("image", entry)
                if depth > 0:
                    self._deeper.add(entry.path)
                yield self._name(entry)

    def _follow(self, kind: str, entry: os.DirEntry[str]) -> None:
        if entry.is_symlink():
            self._followed[kind].add(entry.path)

    def _is_of_the_set(self, entry: os.DirEntry[str], kind: str) -> bool:
        if entry.name.startswith("."):
            self.leave_out(f"hidden {kind}s", self._name(entry))
            return False
        if kind == "folder" and entry.name in _SYSTEM_FOLDERS:
            self.leave_out("folders of systems and tools", self._name(entry))
            return False
        return True

    def _is_readable_image(self, entry: os.DirEntry[str]) -> bool:
        if entry.is_symlink() and not os.path.exists(entry.path):
            self.leave_out("links that lead nowhere", self._name(entry))
        elif not entry.is_file():
            self.leave_out("what is neither file nor folder", self._name(entry))
        elif not _is_image(entry):
            self.leave_out(f"files that are no {', '.join(IMAGE_EXTENSIONS)}", self._name(entry))
        else:
            return True
        return False

    def _skip_file_beside_folders(self, entry: os.DirEntry[str]) -> None:
        if entry.is_symlink() and not os.path.exists(entry.path):
            self.leave_out("links that lead nowhere", self._name(entry))
        elif _is_image(entry):
            self.leave_out("images beside the class folders", self._name(entry))

    def _name(self, entry: os.DirEntry[str]) -> str:
        return Path(entry.path).relative_to(self.root).as_posix()


def _entries(place: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{place} cannot be listed: {error.strerror}") from error


def _is_image(entry: os.DirEntry[str]) -> bool:
    extension = entry.name.rpartition(".")[2].lower()
    return extension in IMAGE_EXTENSIONS and not entry.name.startswith(".") and entry.is_file()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _enumerate(names: Sequence[str]) -> str:
    """Return how many names there are, and the first of them."""
    shown = ", ".join(names[:_NUM_SHOWN])
    more = len(names) - _NUM_SHOWN
    return f"{len(names)} ({shown}{f' and {more} more' if more > 0 else ''})"
