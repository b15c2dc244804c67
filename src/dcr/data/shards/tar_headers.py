"""Headers of tars that nobody vouches for, one member at a time.

Python's tarfile reads them too, and trusts them: it parses any number of digits and PAX keys,
follows maps of sparse files, keeps global keys for ever and calls itself for every header that
comes before a member. What data needs of a tar is a name, a size and a place; here the rest is
skipped, so that the work is bounded by a few operations a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dcr.data.shards.tar_fields import (
    BLOCK,
    MAX_NAME_BYTES,
    TarCut,
    TarDamaged,
    checked_name,
    is_header,
    padded,
    read_digits,
    read_plain_name,
    read_size,
)

MAX_HEADER_BYTES = 1 << 20  # of PAX keys before one member; macOS writes extended attributes there
_MAX_HEADERS = 8  # before one member; two are many
_MAX_KEYS = 256  # before one member; a dozen are many
_EMPTY_MEMBERS = 10_000  # more than those with content: each costs time and, in a table, memory
_FILES = b"0\x007"  # regular, as it was before POSIX, and contiguous
_NO_CONTENT = b"123456"  # links, devices, folders, pipes
_OF_ALL_MEMBERS = (b"path", b"size", b"linkpath", b"hdrcharset")

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Member:
    """What stands at one place of a tar.

    Attributes:
        name: as it is declared.
        offset: where the first of its headers begins. offset_data, size: its content, as it is
            stored.
        end: where the next member's headers begin.
        is_file: it is a plain file, neither link, device, folder nor sparse.
        is_folder: it is a folder.
    """

    name: str
    offset: int
    offset_data: int
    size: int
    end: int
    is_file: bool
    is_folder: bool


def read_members(read: Read, offset: int = 0) -> Iterator[Member]:
    """Yield all members from a place on.

    ``read`` is asked for places in ascending order, the last of them again.

    Args:
        read: see `read_member`.
        offset: of the first header.

    Raises:
        TarDamaged: see `read_member`; or most members are empty, or a tar's end does not come
            behind the last.
    """
    empty = filled = 0
    while (member := read_member(read, offset)) is not None:
        yield member
        empty += member.size == 0
        filled += member.size > 0
        if empty > filled + _EMPTY_MEMBERS:
            raise TarDamaged("most of its members are empty")
        offset = member.end
    _check_end(read, offset)


def _check_end(read: Read, end: int) -> None:
    """Raise TarDamaged unless zeros alone stand from a place on."""
    block = read(end, BLOCK)
    fault: TarDamaged = TarCut("it goes on with bytes that are no tar header")
    if end == 0:
        fault = TarDamaged("no header stands at its start")
    elif len(block) < BLOCK:
        fault = TarCut(
            "it is cut short within a header"
            if block
            else "it is cut short: no end-of-archive mark"
        )
    if not block:
        raise fault
    while block:
        if block.count(0) != len(block):
            raise fault
        end += len(block)
        block = read(end, 1 << 20)


def read_member(read: Read, offset: int) -> Member | None:
    """Return the member whose first header stands at a place; None if no header stands there.

    Args:
        read: returns as many bytes as are asked for from a place on, fewer where the tar ends.
        offset: of the header.

    Raises:
        TarDamaged: the headers declare what no tar of data holds.
    """
    place = offset
    names: dict[bytes, bytes] = {}
    for _ in range(_MAX_HEADERS + 1):
        block = read(place, BLOCK)
        if not is_header(block):
            if place > offset:
                raise TarDamaged("no member comes after a header of names")
            return None
        kind = block[156:157]
        size = read_size(block)
        if kind not in (b"x", b"X", b"g", b"L", b"K"):
            return _member(read, offset, place, block, names)
        place += BLOCK
        names = _names(read, place, kind, size) | names
        place += padded(size)
    raise TarDamaged(f"more than {_MAX_HEADERS} headers of names before one member")


def _member(read: Read, offset: int, place: int, block: bytes, names: dict[bytes, bytes]) -> Member:
    kind = block[156:157]
    name = names.get(b"path")
    sparse = kind == b"S" or any(key.startswith(b"GNU.sparse.") for key in names)
    name = names.get(b"GNU.sparse.name", name) if sparse else name
    text = read_plain_name(block) if name is None else name.decode("utf-8", "surrogateescape")
    is_folder = kind == b"5" or (kind == b"\0" and text.endswith("/"))
    size = (
        0
        if kind in _NO_CONTENT or is_folder
        else read_digits(names[b"size"])
        if b"size" in names
        else read_size(block)
    )
    data = place + BLOCK + (_sparse_blocks(read, place, block) if kind == b"S" else 0)
    is_file = kind in _FILES and not is_folder and not sparse
    return Member(text.rstrip("/"), offset, data, size, data + padded(size), is_file, is_folder)


def _names(read: Read, place: int, kind: bytes, size: int) -> dict[bytes, bytes]:
    """Return what a header that comes before a member says of it."""
    if kind == b"K":  # the target of a link, which nobody follows
        return {}
    if kind == b"L":
        return {
            b"path": checked_name(read(place, min(size, MAX_NAME_BYTES + 1)).partition(b"\0")[0])
        }
    if size > MAX_HEADER_BYTES:
        raise TarDamaged(f"a header declares {size} bytes of names")
    keys = _pax_keys(read(place, size))
    if kind != b"g":
        return keys
    if any(key in _OF_ALL_MEMBERS or key.startswith(b"GNU.sparse.") for key in keys):
        raise TarDamaged("a global header gives all members one name or size")
    return {}  # a comment, as git writes it


def _pax_keys(block: bytes) -> dict[bytes, bytes]:
    """Return the keys of a PAX header: records of ``<length> <key>=<value>\\n``."""
    keys: dict[bytes, bytes] = {}
    place = 0
    while place < len(block) and block[place]:
        space = block.find(b" ", place, place + len(str(MAX_HEADER_BYTES)) + 1)
        end = place + read_digits(block[place : max(place, space)])
        key, _, value = block[space + 1 : end - 1].partition(b"=")
        if not place < space < end <= len(block) or not key or len(keys) == _MAX_KEYS:
            raise TarDamaged("a PAX header is no list of keys, or a list without end")
        keys[key] = checked_name(value) if key in (b"path", b"GNU.sparse.name") else value
        place = end
    return keys


def _sparse_blocks(read: Read, place: int, block: bytes) -> int:
    """Return how many bytes the map of a sparse file takes behind its header."""
    start = place + BLOCK
    more = len(block) == BLOCK and block[482]
    place = start
    while more:
        more = read(place, BLOCK)[504:505] not in (b"", b"\0")
        place += BLOCK
    return place - start
