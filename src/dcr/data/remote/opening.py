"""Files opened by path or URL, from the cache where there is one."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from dcr.data.remote.cache import Cache
from dcr.data.remote.objects import RangeReader, RemoteObject, look_up
from dcr.data.remote.settings import current_settings
from dcr.data.remote.urls import is_remote
from dcr.errors import UserError

_AHEAD = 256 << 10  # bytes asked for at least: about a sample
looked_up: dict[str, RemoteObject] = {}  # as this process saw them last


def open_file(path: str, whole: bool) -> BinaryIO:
    """Open a file, local or at a URL that fsspec opens, for reading from any place.

    Args:
        path: of the file, or its URL. A process looks a URL up once.
        whole: most of the file will be read: fetch it into the cache. Otherwise what is not there
            yet is read piece by piece, and not kept: as it was when the process looked it up, or
            not at all. What changes between two pieces is refused by stores that compare tags, as
            S3 does; over http it is not noticed here.

    Raises:
        UserError: a remote file cannot be read, or changed since it was looked up.
        OSError: a local one cannot be opened.
    """
    if not is_remote(path):
        return open(path.removeprefix("file://"), "rb")
    known = looked_up.get(path)
    found = known or look_up_now(path)
    settings = current_settings()
    if settings.cache_folder is None:
        return _open_ranges(found, known)
    cache = Cache(settings.cache_folder, settings.cache_bytes)
    if whole:
        return cache.open(found)
    return cache.open_if_there(found) or _open_ranges(found, known)


def look_up_now(url: str) -> RemoteObject:
    """Ask the store for a file, which this process then takes for what is there."""
    looked_up[url] = look_up(url)
    return looked_up[url]


def forget(url: str) -> None:
    """Have a file looked up when it is opened next, as if this process had not seen it."""
    looked_up.pop(url, None)


def _open_ranges(found: RemoteObject, known: RemoteObject | None) -> BinaryIO:
    if known is not None and look_up(known.url).mark != known.mark:
        raise UserError(f"{known.url} changed while this run reads it: run again")
    return cast(BinaryIO, io.BufferedReader(_Ranges(found), _AHEAD))


class _Ranges(io.RawIOBase):
    """A remote file as Python's own streams are read."""

    def __init__(self, found: RemoteObject) -> None:
        self._found = found
        self._reader = RangeReader(found)
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._found.size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), self._found.size - self._place)
        if size <= 0:
            return 0
        data = self._reader.read(self._place, size)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def readall(self) -> bytes:
        data = self._reader.read_all(self._place, self._found.size - self._place)
        self._place += len(data)
        return data

    def close(self) -> None:
        if not self.closed:
            self._reader.close()
        super().close()
