"""A folder at a URL, or here, that files are written to and read from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from dcr.data.remote.opening import forget, open_file
from dcr.data.remote.retrying import is_absent, lacking, retrying
from dcr.data.remote.urls import check_url, is_remote
from dcr.errors import UserError
from dcr.files import atomic_path

T = TypeVar("T")
_PIECE = 32 << 20  # bytes


def check_target(url: str, what: str) -> None:
    """Refuse what no `Folder` can be, as far as that can be told without asking the store.

    Args:
        url: of the folder, or its path.
        what: that names it, for messages.

    Raises:
        UserError: the URL holds a secret, is a web server's, which takes nothing, or of a kind that
            fsspec does not know or whose library is not installed.
    """
    check_url(url, what)
    if not is_remote(url):
        return
    from fsspec.registry import known_implementations, registry

    protocol = url.partition("://")[0]
    if protocol in ("http", "https"):
        raise UserError(
            f"{what} {url}: nothing is written to web servers; name s3://, gs://, hf:// or a folder"
        )
    if protocol in registry:
        return
    if protocol not in known_implementations:
        raise UserError(
            f"{what} {url}: Protocol not known: {protocol}; name s3://, gs://, hf:// or a folder"
        )
    library = known_implementations[protocol]["class"].partition(".")[0]
    if find_spec(library) is None:
        raise UserError(f"{what} {url} {lacking(protocol, library)}")


class Folder:
    """A folder that fsspec writes to; names in it are relative, parted by slashes.

    Neither a bucket nor a repository is made: what is to hold the files is there, or the URL is
    misspelt. Folders below, and here, are made as they are needed.

    Args:
        url: of the folder, or its path, in which ``~`` is the user's home.
        what: that names it, for messages.

    Raises:
        UserError: see `check_target`; in all methods, the store or the disk refuses.
    """

    def __init__(self, url: str, what: str) -> None:
        import fsspec

        check_target(url, what)
        self._what = what
        self._is_remote = is_remote(url)
        place = url if self._is_remote else os.path.expanduser(url.removeprefix("file://"))
        self._url = place.rstrip("/")
        self._fs, self._root = retrying(
            lambda: fsspec.url_to_fs(self._url), url, name=f"{what} {url}"
        )

    def __str__(self) -> str:
        return self._url

    def names(self, folder: str) -> list[str]:
        """Return the names of what lies in a ``folder``, none where there is no such folder."""

        def look() -> list[str]:
            path = f"{self._root}/{folder}"
            self._fs.invalidate_cache(path)
            try:
                found = self._fs.ls(path, detail=False)
            except Exception as exc:
                if is_absent(exc):
                    return []
                raise
            return [name.rstrip("/").rpartition("/")[2] for name in found]

        return self._ask(look, folder, "listed")

    def send(self, source: Path, name: str) -> None:
        """Write the file ``source`` under ``name``; a file here takes the name when it is whole."""
        target = f"{self._root}/{name}"

        def put() -> None:
            if self._is_remote:
                self._fs.put_file(str(source), target)
                return
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)

        self._ask(put, name, "written")

    def fetch(self, name: str, target: Path) -> None:
        """Read the file ``name`` into ``target``, going on where a connection breaks."""
        url = f"{self._url}/{name}"
        if not self._is_remote:
            self._ask(lambda: shutil.copyfile(url, target), name, "read")
            return
        forget(url)  # it may be another one by now
        with open_file(url, whole=False) as source, open(target, "wb") as file:
            while data := source.read(_PIECE):
                file.write(data)

    def remove(self, name: str) -> None:
        """Remove the file or folder ``name``, if it is there."""

        def drop() -> None:
            try:
                self._fs.rm(f"{self._root}/{name}", recursive=True)
            except Exception as exc:
                if not is_absent(exc):
                    raise

        self._ask(drop, name, "removed")

    def _ask(self, request: Callable[[], T], name: str, action: str) -> T:
        url = f"{self._url}/{name}"
        if self._is_remote:
            return retrying(request, url, action=action)
        try:
            return request()
        except OSError as exc:
            raise UserError(
                f"{self._what}: {url} cannot be {action} ({exc.strerror or exc}): mend that, or"
                " name another folder"
            ) from exc
