"""One remote file: what marks its content, and any range of its bytes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dcr.data.remote.retrying import retrying
from dcr.data.remote.urls import check_url
from dcr.errors import UserError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_CONTENT = (
    *("ETag", "etag", "md5Hash", "crc32c", "Content-MD5", "Digest", "generation"),
    *("blob_id", "xet_hash"),
)
_TIMES = ("LastModified", "Last-Modified", "updated", "mtime", "modified", "created")
_COMMIT = re.compile(r"hf://[^@]+@[0-9a-f]{40}/")
_LONGEST = 32 << 20  # bytes of one request
_SHORTEST = 16 << 10
_NUM_WHOLE = 8  # requests of one length before a longer one is tried


class NoSize(UserError):
    """A store does not tell a file's size, without which no range of it can be asked for."""


@dataclass(frozen=True)
class RemoteObject:
    """A remote file as it was when it was looked up.

    Attributes:
        url: of it.
        size: in bytes.
        mark: what the store says of its content: tags and hashes, else times.
        sha256: of its bytes, where the store says it.
    """

    url: str
    size: int
    mark: str
    sha256: str | None


def look_up(url: str) -> RemoteObject:
    """Ask the store for a file, whatever it said before.

    The hub says it of a whole folder at a time; of a commit, which never changes, it is asked once.

    Raises:
        NoSize: the store does not tell the file's size.
        UserError: see `retrying`.
    """
    check_url(url, "file")
    fs, inner = retrying(lambda: _resolve(url), url)

    def ask() -> dict[str, Any]:
        if not _COMMIT.match(url):
            fs.invalidate_cache(inner)
        found: dict[str, Any] = fs.info(inner)
        return found

    info = retrying(ask, url)
    size = info.get("size")
    if not isinstance(size, int):
        raise NoSize(
            f"{url} cannot be read: the server does not tell its size (no Content-Length), by which"
            " files are read in pieces; copy the file here, or to a server that tells it"
        )
    marks = {name: info[name] for name in _CONTENT if info.get(name)}
    marks = marks or {name: info[name] for name in _TIMES if info.get(name)}
    hub_file = info.get("lfs") or {}
    return RemoteObject(
        url,
        size,
        json.dumps([size, marks], sort_keys=True, default=str),
        hub_file.get("sha256"),
    )


def _resolve(url: str) -> tuple[AbstractFileSystem, str]:
    import fsspec

    fs, inner = fsspec.url_to_fs(url)
    return fs, inner


class RangeReader:
    """Bytes of a remote file, in requests that are made again where they break.

    After each that breaks the next are half as long, so that reading goes on over connections that
    never last; after some that are whole they are longer again, so that one outage slows nothing
    for long.

    Args:
        found: the file as it was looked up. Whether it is still that is for the caller to ask.
    """

    def __init__(self, found: RemoteObject) -> None:
        self._found = found
        self._fs, self._inner = retrying(lambda: _resolve(found.url), found.url)
        self._file: Any = None
        self._longest = _LONGEST
        self._asked = 0
        self._num_whole = 0

    def read(self, start: int, size: int) -> bytes:
        """Return at least one byte from ``start`` on, and ``size`` at most.

        Raises:
            UserError: see `retrying`.
        """
        self._open()
        return retrying(lambda: self._request(start, size), self._found.url, self._shorten)

    def read_all(self, start: int, size: int) -> bytes:
        """Return the ``size`` bytes from ``start`` on, fewer where the file ends."""
        end = min(start + size, self._found.size)
        found = bytearray()
        while start + len(found) < end:
            found += self.read(start + len(found), end - start - len(found))
        return bytes(found)

    def close(self) -> None:
        """Give back what the store's client holds."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _open(self) -> None:
        """Open the file by itself: that this fails says nothing of how long requests may be."""
        if self._file is None:
            options = {"block_size": _LONGEST, "cache_type": "none"}
            self._file = retrying(
                lambda: self._fs.open(self._inner, "rb", **options), self._found.url
            )

    def _request(self, start: int, size: int) -> bytes:
        asked = self._asked = min(size, self._longest)
        self._file.seek(start)
        data: bytes = self._file.read(asked)
        if not 0 < len(data) <= asked:
            raise EOFError(f"{len(data)} bytes came from byte {start} on, not {asked}")
        self._lengthen(asked)
        return data

    def _shorten(self) -> None:
        self._longest = max(_SHORTEST, self._asked // 2)
        self._num_whole = 0

    def _lengthen(self, asked: int) -> None:
        """Ask for twice as much where so much came often enough that a failure is a small loss."""
        self._num_whole += asked == self._longest
        if self._num_whole == _NUM_WHOLE:
            self._longest = min(_LONGEST, 2 * self._longest)
            self._num_whole = 0
