"""Headers of tars that nobody vouches for, one member at a time.

Python's tarfile reads them too, and trusts them: it parses any number of digits and PAX keys,
follows maps of sparse files, keeps global keys for ever and calls itself for every header that
comes before a member. What data needs of a tar is a name, a size and a place; here the rest is
skipped, so that the work is bounded by a few operations a block.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAX_NAME_BYTES = 4096  # Linux's longest path
MAX_HEADER_BYTES = 1 << 20  # of PAX keys before one member; macOS writes extended attributes there
_MAX_HEADERS = 8  # before one member; two are many
_MAX_KEYS = 256  # before one member; a dozen are many
_MAX_DIGITS = 18  # of a number in a PAX header
_MOST_BYTES = 10**18  # of a size: no store holds more
_EMPTY_MEMBERS = 10_000  # more than those with content: each costs time and, in a table, memory
BLOCK = 512  # bytes; everything in a tar begins at a multiple
_FILES = b"0\x007"  # regular, as it was before POSIX, and contiguous
_NO_CONTENT = b"123456"  # links, devices, folders, pipes
_OF_ALL_MEMBERS = (b"path", b"size", b"linkpath", b"hdrcharset")

Read = Callable[[int, int], bytes]


class TarDamaged(ValueError):
    """A header cannot be believed; the message says why."""


class TarCut(TarDamaged):
    """A tar does not end as tars do; the message says how."""


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
    """Yield all members from a place on; ``read`` is asked for places in ascending order, the last
    of them again.

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
    fault = TarCut("it goes on with bytes that are no tar header")
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
    names = {}
    for _ in range(_MAX_HEADERS + 1):
        block = read(place, BLOCK)
        if not _is_header(block):
            if place > offset:
                raise TarDamaged("no member comes after a header of names")
            return None
        kind = block[156:157]
        size = _size(block)
        if kind not in (b"x", b"X", b"g", b"L", b"K"):
            return _member(read, offset, place, block, names)
        place += BLOCK
        names = _names(read, place, kind, size) | names
        place += _padded(size)
    raise TarDamaged(f"more than {_MAX_HEADERS} headers of names before one member")


def _member(read: Read, offset: int, place: int, block: bytes, names: dict[bytes, bytes]) -> Member:
    kind = block[156:157]
    name = names.get(b"path")
    sparse = kind == b"S" or any(key.startswith(b"GNU.sparse.") for key in names)
    name = names.get(b"GNU.sparse.name", name) if sparse else name
    text = _plain_name(block) if name is None else name.decode("utf-8", "surrogateescape")
    is_folder = kind == b"5" or (kind == b"\0" and text.endswith("/"))
    size = (
        0
        if kind in _NO_CONTENT or is_folder
        else _digits(names[b"size"])
        if b"size" in names
        else _size(block)
    )
    data = place + BLOCK + (_sparse_blocks(read, place, block) if kind == b"S" else 0)
    is_file = kind in _FILES and not is_folder and not sparse
    return Member(text.rstrip("/"), offset, data, size, data + _padded(size), is_file, is_folder)


def _is_header(block: bytes) -> bool:
    """Tell whether a block has the checksum of a header; a block of zeros, which ends a tar,
    has none.
    """
    if len(block) < BLOCK:
        return False
    try:
        declared = _number(block[148:156])
    except ValueError:
        return False
    summed = (
        256 + sum(block[:148]) + sum(block[156:])
    )  # with eight spaces in the checksum's own place
    if declared == summed:
        return True
    signed = summed - 256 * sum(
        byte > 127 for byte in block[:148] + block[156:]
    )  # as some old programs do
    return declared == signed


def _size(block: bytes) -> int:
    try:
        size = _number(block[124:136])
    except ValueError as exc:
        raise TarDamaged("a header declares a size that is no number") from exc
    if not 0 <= size <= _MOST_BYTES:
        raise TarDamaged("a header declares a size that nothing can have")
    return size


def _number(field: bytes) -> int:
    """Return a number of a header: octal digits, or in GNU's way bytes behind one that is no
    digit.
    """
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if field[0] == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _plain_name(block: bytes) -> str:
    name, prefix = (_text(field) for field in (block[:100], block[345:500]))
    return f"{prefix}/{name}" if prefix and block[156:157] != b"S" else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _names(read: Read, place: int, kind: bytes, size: int) -> dict[bytes, bytes]:
    """Return what a header that comes before a member says of it."""
    if kind == b"K":  # the target of a link, which nobody follows
        return {}
    if kind == b"L":
        return {
            b"path": _checked_name(read(place, min(size, MAX_NAME_BYTES + 1)).partition(b"\0")[0])
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
    keys = {}
    place = 0
    while place < len(block) and block[place]:
        space = block.find(b" ", place, place + len(str(MAX_HEADER_BYTES)) + 1)
        end = place + _digits(block[place : max(place, space)])
        key, _, value = block[space + 1 : end - 1].partition(b"=")
        if not place < space < end <= len(block) or not key or len(keys) == _MAX_KEYS:
            raise TarDamaged("a PAX header is no list of keys, or a list without end")
        keys[key] = _checked_name(value) if key in (b"path", b"GNU.sparse.name") else value
        place = end
    return keys


def _checked_name(name: bytes) -> bytes:
    if len(name) > MAX_NAME_BYTES:
        raise TarDamaged(f"a name has more than {MAX_NAME_BYTES} bytes")
    return name


def _digits(number: bytes) -> int:
    if re.fullmatch(rb"[0-9]{1,%d}" % _MAX_DIGITS, number) is None:
        raise TarDamaged("a PAX header declares a length that is no number")
    return int(number)


def _sparse_blocks(read: Read, place: int, block: bytes) -> int:
    """Return how many bytes the map of a sparse file takes behind its header."""
    start = place + BLOCK
    more = len(block) == BLOCK and block[482]
    place = start
    while more:
        more = read(place, BLOCK)[504:505] not in (b"", b"\0")
        place += BLOCK
    return place - start


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
