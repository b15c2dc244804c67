"""What lies in a file system, local or remote."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TypeVar

from dcr.data.remote.retrying import is_absent, is_denied, retrying
from dcr.data.remote.urls import is_remote

T = TypeVar("T")
_MARKS = "*?["


class Tree:
    """Files and folders as fsspec shows them, by the paths that it gives them.

    Each request to a store is made again by itself: a busy one does not have all others made again,
    and is never taken for one that lacks something, as fsspec's ``exists`` and ``glob`` do.

    Args:
        url: of something in the file system, or its path, with or without the marks of globs.
        name: that it has in messages, else itself.

    Attributes:
        fs: fsspec's file system.
        root: the path that ``url`` has in it.

    Raises:
        UserError: see `retrying`; of a local file system errors come as they are. So do all
            methods.
    """

    def __init__(self, url: str, name: str = "") -> None:
        import fsspec

        self._url = url
        self._name = name
        self.is_remote = is_remote(url)
        self.fs, self.root = self._ask(lambda: fsspec.url_to_fs(url), "opened")

    def kind(self, path: str) -> str | None:
        """Return fsspec's type of what is at a ``path``, None if nothing is."""

        def ask() -> str | None:
            found: str = self.fs.info(path)["type"]
            # Over http a folder is a page of links.
            is_index = found == "file" and not path.lower().endswith(".tar") and self.fs.isdir(path)
            return "directory" if is_index else found

        return self._ask(_or(ask, None, is_absent))

    def is_there(self, path: str) -> bool:
        """Tell whether something is at a ``path``; what may not be looked at is not there.

        Some stores deny what is absent.
        """

        def ask() -> bool:
            self.fs.info(path)
            return True

        return self._ask(_or(ask, False, lambda exc: is_absent(exc) or is_denied(exc)))

    def is_file(self, path: str) -> bool:
        """Tell whether a file is at a ``path``; over http folders are files, too."""

        def ask() -> bool:
            return bool(self.fs.info(path)["type"] == "file")

        return self._ask(_or(ask, False, lambda exc: is_absent(exc) or is_denied(exc)))

    def is_folder(self, path: str, kind: str | None = None) -> bool:
        """Tell whether a ``path`` is a folder's, or that of a link to one.

        Args:
            path: of what is asked about.
            kind: fsspec's type of it, where it is known; that of most saves asking.
        """
        if kind in ("directory", "file"):
            return kind == "directory"
        return self._ask(lambda: bool(self.fs.isdir(path)))

    def entries(self, folder: str) -> dict[str, str]:
        """Return the paths in a ``folder`` with fsspec's types, none where there is no folder."""
        none: list[dict[str, str]] = []
        found = self._ask(_or(lambda: self.fs.ls(folder, detail=True), none, is_absent))
        entries = {entry["name"].rstrip("/"): entry["type"] for entry in found}
        entries.pop(folder.rstrip("/"), None)  # some stores list the folder itself
        return entries

    def glob(
        self, folder: str, pattern: str, entries: dict[str, str] | None = None
    ) -> dict[str, str]:
        """Return what a glob matches, with types; fsspec's own omits folders that it cannot list.

        A link to a folder is that folder where a part matches its name, and no folder for ``**``,
        which a link to a folder above it would lead round for ever.

        Args:
            folder: that the pattern begins in, taken as it is written.
            pattern: parts by slashes; ``**`` as a part stands for any number of folders.
            entries: what lies in the folder, where it has been listed.
        """
        part, _, rest = pattern.partition("/")
        if has_marks(part):
            listed = self.entries(folder) if entries is None else entries
            return self._match(folder, listed, pattern)
        path = f"{folder}/{part}"
        if rest:
            return self.glob(path, rest)
        kind = self.kind(path)
        return {} if kind is None else {path: kind}

    def _match(self, folder: str, entries: dict[str, str], pattern: str) -> dict[str, str]:
        """Return what a glob whose first part has marks matches in a folder of such entries."""
        from fsspec.utils import glob_translate

        part, _, rest = pattern.partition("/")
        if part == "**":
            below = [path for path, kind in entries.items() if kind == "directory"]
            found = self.glob(folder, rest, entries) if rest else entries
            return found | self._glob_all(below, pattern)
        is_match = re.compile(glob_translate(part)).match
        names = {path: path.rpartition("/")[2] for path in entries}
        matched = {path: kind for path, kind in entries.items() if is_match(names[path])}
        if not rest:
            return matched
        leads_on = [path for path, kind in matched.items() if self.is_folder(path, kind)]
        return self._glob_all(leads_on, rest)

    def _glob_all(self, folders: list[str], pattern: str) -> dict[str, str]:
        return {
            path: kind for folder in folders for path, kind in self.glob(folder, pattern).items()
        }

    def _ask(self, request: Callable[[], T], action: str = "read") -> T:
        if not self.is_remote:
            return request()
        return retrying(request, self._url, name=self._name, action=action)


def has_marks(path: str) -> bool:
    """Tell whether a ``path`` has marks of globs."""
    return any(mark in path for mark in _MARKS)


def exists(url: str) -> bool:
    """Tell whether there is a file, local or remote, at a ``url``; see `Tree.is_there`.

    Raises:
        UserError: the store cannot be reached.
    """
    if not is_remote(url):
        return os.path.exists(url.removeprefix("file://"))
    tree = Tree(url)
    return tree.is_there(tree.root)


def _or(
    request: Callable[[], T], other: T, judge: Callable[[BaseException], bool]
) -> Callable[[], T]:
    """Return a request that gives ``other`` where it fails in a way that ``judge`` knows."""

    def ask() -> T:
        try:
            return request()
        except Exception as exc:
            if judge(exc):
                return other
            raise

    return ask
