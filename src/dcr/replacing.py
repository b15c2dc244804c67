"""How a new file or folder takes the place of an old one; `dcr.files` puts these steps together.

Temporary names hold host, process and a random token:
``.<name>.<host>.<pid>.<token>.<number>.tmp``.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import platform
import re
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

_HOST = re.sub(r"\W", "-", platform.node()) or "host"
# Tells this process from an earlier one of the same number, as in containers.
_TOKEN = secrets.token_hex(4)
_numbers = itertools.count()
_TEMPORARY = re.compile(
    r"\..+\.(?P<host>[\w-]+)\.(?P<pid>\d+)\.(?P<token>[0-9a-f]{8})\.\d+\.tmp", re.DOTALL
)

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # as on NFS


def temporary_path(folder: Path, name: str) -> Path:
    """Return a path for ``name`` in ``folder`` that no other process, thread or call uses."""
    return folder / f".{name}.{_HOST}.{os.getpid()}.{_TOKEN}.{next(_numbers)}.tmp"


def is_temporary(name: str) -> bool:
    """Return whether ``name``, of a file or folder, is one that `temporary_path` gives."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_leftovers(folder: Path) -> None:
    """Remove what dead processes of this host were writing in ``folder``; other hosts' stays."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        dead = [
            entry.path for entry in entries if entry.name.endswith(".tmp") and _is_dead(entry.name)
        ]
        for path in dead:
            remove(Path(path))


def _is_dead(name: str) -> bool:
    match = _TEMPORARY.fullmatch(name)
    if match is None or match["host"] != _HOST:
        return False
    if int(match["pid"]) == os.getpid():
        return match["token"] != _TOKEN
    try:
        os.kill(int(match["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def remove(path: Path) -> None:
    """Remove what lies at ``path``, if anything: a file, a link or a folder with its contents."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def follow_links(path: str | os.PathLike[str]) -> Path:
    """Return the place that ``path`` leads to, so that a write goes through links.

    A link to a file without write permission stands for itself: DVC links to its cache so, which
    nobody may change.
    """
    path = Path(path)
    place = Path(os.path.realpath(path))
    if path.is_symlink() and place.is_file() and not place.stat().st_mode & 0o222:
        return Path(os.path.realpath(path.parent)) / path.name
    return place


def is_mount(folder: Path) -> bool:
    """Return whether something is mounted at ``folder``; bind mounts count.

    os.path.ismount does not see those.
    """
    if os.path.ismount(folder):
        return True
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().split(b"\n")
    except OSError:
        return False
    points = [line.split(b" ")[4] for line in lines if line]
    place = os.fsencode(os.path.realpath(folder))
    return any(
        re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), point) == place
        for point in points
    )


def settle(path: Path, mode: int) -> None:
    """Bring a whole file, or all of a folder, to the disk, with a new file's permissions.

    A rename may reach the disk before the bytes do; after a power cut the name would then stand for
    an empty file.

    Args:
        path: the file or folder, in which links are left alone.
        mode: of a new file or folder under this umask; libraries write some files for the owner
            alone.
    """
    if path.is_symlink():
        return
    if path.is_dir():
        path.chmod(mode)
        for entry in sorted(path.iterdir()):
            settle(entry, mode if entry.is_dir() else mode & 0o666)
        sync_folder(path)
        return
    path.chmod(mode & 0o666)
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in ``folder`` to the disk, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(temporary: Path, target: Path) -> None:
    """Put the file ``temporary`` in the place of ``target``.

    What is mounted at that place cannot be renamed over and is written into.
    """
    try:
        os.replace(temporary, target)
    except OSError as exc:
        if exc.errno != errno.EBUSY:
            raise
        shutil.copyfile(temporary, target)
    sync_folder(target.parent)


def replace_folder(temporary: Path, target: Path) -> None:
    """Put the folder ``temporary`` in the place of ``target``.

    What was there then lies in ``temporary`` or is gone. On Linux the two are exchanged, so that at
    every moment the old or the new one has the name. Where that cannot be, the old one is set aside
    first; `recover` brings it back after a kill between the two renames.
    """
    if not target.is_dir():
        os.rename(temporary, target)
    elif not exchange(temporary, target):
        aside = _aside(target)
        os.rename(target, aside)
        os.rename(temporary, target)
        remove(aside)
    sync_folder(target.parent)


def replace_contents(temporary: Path, target: Path, last: str) -> None:
    """Put the contents of ``temporary`` in the place of its parent ``target``'s, entry by entry.

    Args:
        last: the entry that is put in its place when all others are, and all that is old is gone.
    """
    new = os.listdir(temporary)
    for name in sorted(name for name in new if name != last):
        _put(temporary / name, target / name)
    for name in set(os.listdir(target)) - {*new, last, temporary.name}:
        remove(target / name)
    _put(temporary / last, target / last) if last in new else remove(target / last)
    sync_folder(target)


def _put(new: Path, place: Path) -> None:
    if place.is_dir() != new.is_dir():
        remove(place)
    replace_folder(new, place) if new.is_dir() else os.replace(new, place)


def recover(target: Path) -> None:
    """Finish what a kill left of replacing ``target`` in two steps.

    The old one comes back if no new one is there.
    """
    aside = _aside(target)
    if not aside.is_dir():
        return
    if target.exists():
        remove(aside)
    else:
        os.rename(aside, target)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; return False where system or file system cannot.

    Args:
        one, other: paths on one file system.

    Raises:
        OSError: the system could, but did not.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def new_file_mode(path: Path) -> int:
    """Create an empty file at ``path``, where there is none; return the mode the umask left it."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
