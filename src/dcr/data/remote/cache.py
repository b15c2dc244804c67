"""Whole copies of remote files on disk, as many as there is room for.

A copy's name tells its URL and the mark of its content, so a changed file is another one. Three
kinds of files lie in the folder: ``<name>.copy`` are whole, ``<name>.part`` grow, and
``<name>.lock`` are held by who fetches. A part that a kill left is gone on with.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dcr.data.remote.objects import RangeReader, RemoteObject, look_up
from dcr.errors import UserError
from dcr.files import sha256_file
from dcr.locks import NoLocks, hold, hold_if_free

_COPY = ".copy"
_PART = ".part"
_LOCK = ".lock"
_ROOM = ".room"  # locked while it is decided what leaves, and while a part becomes a copy


class Cache:
    """A folder of copies, which any number of processes and threads use at a time.

    Args:
        folder: made when the first copy is.
        max_bytes: that the copies take, whole and growing. What is open stays readable when it
            leaves, and takes its room until it is closed.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes

    def open(self, found: RemoteObject) -> BinaryIO:
        """Return the copy of a file, open, which is fetched if it is not there.

        Args:
            found: the file as it was looked up.

        Raises:
            UserError: it cannot be fetched, or changed since; there is no room for it.
        """
        with self._told():
            return self.open_if_there(found) or self._fetch(found)

    def open_if_there(self, found: RemoteObject) -> BinaryIO | None:
        """Return the copy of a file, open, or None; it counts as just used."""
        path = self._path(found, _COPY)
        with suppress(FileNotFoundError):
            file = open(path, "rb")  # noqa: SIM115  # the caller closes it
            if os.fstat(file.fileno()).st_size == found.size:
                with suppress(OSError):  # another process let it leave
                    os.utime(path)
                return file
            file.close()
        return None

    def _path(self, found: RemoteObject, kind: str) -> Path:
        name = hashlib.sha256(f"{found.url}\n{found.mark}".encode()).hexdigest()[:40]
        return self.folder / f"{name}-{found.size}{kind}"

    def _fetch(self, found: RemoteObject) -> BinaryIO:
        if found.size > self.max_bytes:
            raise UserError(
                f"remote.cache_gigabytes is {self.max_bytes / 1e9:g}, and {found.url} alone has"
                f" {found.size / 1e9:.3g}: give the cache room for several files of each worker"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self._path(found, _PART)
        with hold(self._path(found, _LOCK)):
            if file := self.open_if_there(found):  # another process fetched it meanwhile
                return file
            self._make_room(part, found.size)
            _download(found, part)
            _verify(found, part)
            file = open(part, "rb")  # noqa: SIM115  # the caller closes it
            with hold(self.folder / _ROOM):  # or who counts meanwhile would miss it
                os.replace(part, self._path(found, _COPY))
            return file

    def _make_room(self, part: Path, size: int) -> None:
        """Create a part, once the others leave room for it; who grows another is waited for."""
        while True:
            with hold(self.folder / _ROOM):
                growing = self._drop_oldest(part, self.max_bytes - size)
                if growing is None:
                    part.touch()
                    return
                part.unlink(missing_ok=True)  # or who grows might wait for this one
            with hold(growing):
                pass

    def _drop_oldest(self, own: Path, most: int) -> Path | None:
        """Remove what was used longest ago until ``most`` bytes are left.

        Returns:
            None, or the lock of a part that grows, if no other can leave.
        """
        others = {path: size for path, size in self._sizes() if path != own}
        growing = None
        for path in sorted(others, key=_last_use):
            if sum(others.values()) <= most:
                break
            with hold_if_free(path.with_suffix(_LOCK)) as is_held:
                if path.suffix == _COPY or is_held:
                    path.unlink(missing_ok=True)
                    del others[path]
                else:
                    growing = path.with_suffix(_LOCK)
        return growing if sum(others.values()) > most else None

    def _sizes(self) -> Iterator[tuple[Path, int]]:
        """Yield copies and parts, each with the bytes that it takes or will take."""
        for path in self.folder.iterdir():
            size = path.stem.rpartition("-")[2]
            if path.suffix in (_COPY, _PART) and size.isdigit():
                yield path, int(size)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what the disk refuses as the user's, as workers' own faults look alike."""
        try:
            yield
        except NoLocks as exc:
            raise UserError(
                f"remote.cache_folder {self.folder} lies on a file system without locks, which"
                " several processes need: name a folder on a local disk"
            ) from exc
        except OSError as exc:
            raise UserError(
                f"remote.cache_folder {self.folder} cannot be used ({exc.strerror or exc}): free"
                " space or name another folder"
            ) from exc


def _download(found: RemoteObject, part: Path) -> None:
    """Append to a part what it lacks."""
    reader = RangeReader(found)
    try:
        with open(part, "ab") as file:
            while (done := file.tell()) < found.size:
                file.write(reader.read(done, found.size - done))
            file.flush()
            os.fsync(file.fileno())
    finally:
        reader.close()


def _verify(found: RemoteObject, part: Path) -> None:
    """Compare what came with what the store says, again; it may have changed while it was read."""
    now = look_up(found.url)
    is_other = now.mark != found.mark or part.stat().st_size != found.size
    if is_other or (found.sha256 and sha256_file(part) != found.sha256):
        part.unlink()
        raise UserError(
            f"{found.url} changed while it was read, or came damaged: run again; if it did not"
            " change, its store is damaged"
        )


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
