"""One run at a time over the same folders: a lock that the system frees when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dcr.errors import UserError

LOCK = ".dcr.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


_held: dict[int, bool] = {}  # by descriptor, whether this process wrote its name into the file


def lock(folder: Path, *, shared: bool) -> None:
    """Lock a folder by its file `LOCK` until `release_all` or this process ends, or refuse at once.

    Processes that this one forks do not hold the lock; `held_descriptors` are for those that shall.

    Args:
        folder: made if it is not there and the lock is not shared.
        shared: with others that share it: those that read, and those that write different files on
            purpose.

    Raises:
        UserError: another process holds the folder in a way that does not go with this one.
    """
    descriptor = _open(folder / LOCK, shared)
    if descriptor is None:
        return
    _held[descriptor] = False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{folder} is in use by another run{_holder(descriptor)}: wait until it has ended, or"
            " give this run a recipe of its own"
        ) from None
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:  # a file system that knows no locks has none to give
            raise
    if not shared:
        _held[descriptor] = True
        _write(descriptor, f"process {os.getpid()} on {platform.node()}")


def held_descriptors() -> tuple[int, ...]:
    """Return what a process that goes on with this run inherits.

    The locks last as long as it does.
    """
    return tuple(sorted(_held))


def release_all() -> None:
    """Give back all locks."""
    for descriptor in [descriptor for descriptor, named in _held.items() if named]:
        _write(descriptor, "")
    _forget()


def _forget() -> None:
    while _held:
        os.close(_held.popitem()[0])


os.register_at_fork(after_in_child=_forget)


def _open(path: Path, shared: bool) -> int | None:
    """Open a lock's file; None where a reader finds no folder to lock or may not write there."""
    if not shared:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with suppress(OSError):
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with suppress(OSError):
        return os.open(path, os.O_RDONLY)
    return None


def _write(descriptor: int, holder: str) -> None:
    with suppress(OSError):  # a full disk keeps nobody from locking
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)


def _holder(descriptor: int) -> str:
    """Return who wrote into a lock's file last, if that process is still there."""
    text = os.pread(descriptor, 200, 0).decode("utf-8", "replace")
    pid, _, host = text.removeprefix("process ").partition(" on ")
    if (
        host == platform.node()
        and not os.path.exists(f"/proc/{pid}")
        and os.path.exists("/proc/self")
    ):
        return ""
    return f" ({text})" if host else ""


class NoLocks(OSError):
    """A file system that knows no locks."""


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made, while the block runs; who has it is waited for.

    Threads of one process exclude each other, too. A process that dies gives its locks back.

    Raises:
        NoLocks: the file system knows none.
    """
    with open(path, "ab") as file:
        _flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # processes forked meanwhile have it open, too


@contextmanager
def hold_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock of a file while the block runs if nobody has it; yield whether it is held."""
    with open(path, "ab") as file:
        try:
            _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            try:
                yield True
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)


def _flock(file: BinaryIO, operation: int) -> None:
    try:
        fcntl.flock(file, operation)
    except OSError as exc:
        if exc.errno in _NO_LOCKS:
            raise NoLocks(exc.errno, exc.strerror) from exc
        raise
