"""Tars that nobody vouches for, read once from front to back, compressed or not."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from dcr.data.shards.tar_fields import TarDamaged

_PIECE = 1 << 16  # bytes
_LEAST_EXPANDED = 64 << 20  # bytes to which any stream may expand
# Of its own bytes; headers and padding of small files shrink to a tenth or twentieth.
_MOST_TIMES = 100
_MOST_MEMORY = 256 << 20  # of xz, which needs 65 MiB at its highest level
_MARK_BYTES = 10
_UNPACKERS: dict[bytes, Callable[[], Any]] = {  # by the expression that the first bytes match
    rb"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    rb"BZh[1-9]1AY&SY": bz2.BZ2Decompressor,  # whole, as a plain tar begins with a name
    rb"\xfd7zXZ|\x5d\x00\x00\x80": lambda: lzma.LZMADecompressor(memlimit=_MOST_MEMORY),
}


class TarStream:
    """What `read_members` reads by, over a stream that cannot go back.

    A stream that is gzip, bzip2 or xz is unpacked. Memory holds what is asked for at one time. A
    compressed stream may expand to a hundred times its bytes.

    Args:
        stream: an open file or download, at its start.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._pieces = _pieces(stream)
        self._start = 0
        self._held = bytearray()  # the bytes from that place on

    def read(self, place: int, size: int) -> bytes:
        """Return ``size`` bytes from ``place`` on, fewer where the stream ends.

        No place before it can be read again.

        Raises:
            TarDamaged: the compressed bytes are damaged or cut short, or expand to too much.
        """
        while self._start + len(self._held) < place and (piece := next(self._pieces, b"")):
            self._start += len(self._held)
            self._held = bytearray(piece)
        del self._held[: place - self._start]
        self._start = place
        while len(self._held) < size and (piece := next(self._pieces, b"")):
            self._held += piece
        return bytes(memoryview(self._held)[:size])


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    start = b""
    # A download gives what came.
    while len(start) < _MARK_BYTES and (piece := stream.read(_MARK_BYTES - len(start))):
        start += piece
    unpacker = next((make() for mark, make in _UNPACKERS.items() if re.match(mark, start)), None)
    yield from _plain(start, stream) if unpacker is None else _unpacked(unpacker, start, stream)


def _plain(start: bytes, stream: BinaryIO) -> Iterator[bytes]:
    while start:
        yield start
        start = stream.read(_PIECE)


def _unpacked(unpacker: Any, packed: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """Yield the unpacked bytes in pieces of bounded size.

    An unpacker is zlib's, which gives back what it left, or like bz2's.
    """
    taken = len(packed)
    given = 0
    while True:
        try:
            piece = unpacker.decompress(packed, _PIECE)
        except (zlib.error, lzma.LZMAError, OSError) as exc:
            raise TarDamaged(f"its compression is damaged: {exc}") from exc
        given += len(piece)
        if given > _LEAST_EXPANDED + _MOST_TIMES * taken:
            raise TarDamaged(f"it expands to more than {_MOST_TIMES} times its bytes")
        if piece:
            yield piece
        if unpacker.eof:
            break
        packed = getattr(unpacker, "unconsumed_tail", b"")
        if not packed and getattr(unpacker, "needs_input", True):
            packed = stream.read(_PIECE)
            taken += len(packed)
            if not packed and not piece:
                raise TarDamaged("its compression is cut short")
    if (unpacker.unused_data or stream.read(_PIECE)).strip(b"\0"):
        raise TarDamaged(
            "several compressed files stand in it one after the other: compress the tar as one"
        )
