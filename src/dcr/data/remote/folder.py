"""A folder at a URL, or here, that files are written to and read from."""

from __future__ import annotations

from pathlib import Path

from dcr.data.remote.opening import look_up_now, open_file
from dcr.data.remote.retrying import is_absent, retrying
from dcr.data.remote.urls import check_url, is_remote
from dcr.errors import UserError

_PIECE = 32 << 20  # bytes


class Folder:
    """A folder that fsspec writes to; names in it are relative, parted by slashes.

    Args:
        url: of the folder, or its path; it need not be there.
        what: that names it, for messages.

    Raises:
        UserError: the URL holds a secret, or is a web server's, which takes nothing.
    """

    def __init__(self, url: str, what: str) -> None:
        import fsspec

        check_url(url, what)
        if url.startswith(("http://", "https://")):
            raise UserError(
                f"{what} {url}: nothing is written to web servers; name s3://, gs://, hf:// or a"
                " folder"
            )
        self._url = url.rstrip("/")
        self._fs, self._root = retrying(
            lambda: fsspec.url_to_fs(self._url), url, name=f"{what} {url}"
        )

    def __str__(self) -> str:
        return self._url

    def names(self, folder: str) -> list[str]:
        """Return the names of what lies in a folder, none where there is no such folder.

        Raises:
            UserError: see `retrying`.
        """

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

        return retrying(look, self._url)

    def send(self, source: Path, name: str) -> None:
        """Write the file ``source`` under ``name``.

        Raises:
            UserError: see `retrying`.
        """
        target = f"{self._root}/{name}"

        def put() -> None:
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(source), target)

        retrying(put, f"{self._url}/{name}")

    def fetch(self, name: str, target: Path) -> None:
        """Read the file ``name`` into ``target``, going on where a connection breaks.

        Raises:
            UserError: see `retrying`.
        """
        url = f"{self._url}/{name}"
        if is_remote(url):
            look_up_now(url)
        with open_file(url, whole=False) as source, open(target, "wb") as file:
            while data := source.read(_PIECE):
                file.write(data)

    def remove(self, name: str) -> None:
        """Remove the file or folder ``name``, if it is there.

        Raises:
            UserError: see `retrying`.
        """

        def drop() -> None:
            try:
                self._fs.rm(f"{self._root}/{name}", recursive=True)
            except Exception as exc:
                if not is_absent(exc):
                    raise

        retrying(drop, f"{self._url}/{name}")
