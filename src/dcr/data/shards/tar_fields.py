"""The fields of one header of a tar, of which none is believed."""

from __future__ import annotations

import re

BLOCK = 512
"""Bytes; everything in a tar begins at a multiple."""
MAX_NAME_BYTES = 4096
"""Linux's longest path."""

_MAX_DIGITS = 18  # of a number in a PAX header
_MOST_BYTES = 10**18  # of a size: no store holds more


class TarDamaged(ValueError):
    """A header cannot be believed; the message says why."""


class TarCut(TarDamaged):
    """A tar does not end as tars do; the message says how."""


def is_header(block: bytes) -> bool:
    """Tell whether a ``block`` has a header's checksum; the zeros that end a tar have none."""
    if len(block) < BLOCK:
        return False
    try:
        declared = _number(block[148:156])
    except ValueError:
        return False
    others = block[:148] + block[156:]
    summed = 256 + sum(others)  # with eight spaces in the checksum's own place
    if declared == summed:
        return True
    return declared == summed - 256 * sum(byte > 127 for byte in others)  # as some old programs do


def read_size(block: bytes) -> int:
    """Return the size of content that a ``block`` declares; TarDamaged if nothing has it."""
    try:
        size = _number(block[124:136])
    except ValueError as exc:
        raise TarDamaged("a header declares a size that is no number") from exc
    if not 0 <= size <= _MOST_BYTES:
        raise TarDamaged("a header declares a size that nothing can have")
    return size


def _number(field: bytes) -> int:
    """Return a header's number: octal digits, or in GNU's way bytes behind one that is no digit."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if field[0] == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def read_plain_name(block: bytes) -> str:
    """Return the name in a ``block`` itself, which headers before it may replace."""
    name, prefix = (_text(field) for field in (block[:100], block[345:500]))
    return f"{prefix}/{name}" if prefix and block[156:157] != b"S" else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def checked_name(name: bytes) -> bytes:
    """Return ``name``; TarDamaged if it is longer than any path."""
    if len(name) > MAX_NAME_BYTES:
        raise TarDamaged(f"a name has more than {MAX_NAME_BYTES} bytes")
    return name


def read_digits(number: bytes) -> int:
    """Return the ``number`` of a PAX header; TarDamaged if it is none, or endless."""
    if re.fullmatch(rb"[0-9]{1,%d}" % _MAX_DIGITS, number) is None:
        raise TarDamaged("a PAX header declares a length that is no number")
    return int(number)


def padded(size: int) -> int:
    """Return the bytes that ``size`` of them take in a tar: whole blocks."""
    return -(-size // BLOCK) * BLOCK
