"""Shards that are made to hold a reader up or to fill its memory; each is written to a file in
pieces.

A bomb is a function of its size in bytes that yields the bytes of a tar; `BOMBS` names what must be
said of each.
"""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator

from PIL import Image

from corpus import encode

END = b"\0" * 1024
DAMAGED = {"tar_damaged", "tar_unreadable"}
COSTLY = {"image_too_costly"}


def header(name: str, size: int = 0, kind: bytes = b"0") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def member(name: str, content: bytes, kind: bytes = b"0") -> bytes:
    return header(name, len(content), kind) + content + b"\0" * (-len(content) % 512)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    for _ in range(2):
        length = len(str(length)) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def of(make: Callable[[], bytes]) -> Callable[[int], Iterator[bytes]]:
    """Return a bomb of what is made and an image, whatever the size."""

    def bomb(_: int) -> Iterator[bytes]:
        yield from (make(), member("0.jpg", encode()), END)

    return bomb


def many(make: Callable[[int], bytes]) -> Callable[[int], Iterator[bytes]]:
    """Return a bomb of as many pieces, made of their numbers, as fill the size."""

    def bomb(size: int) -> Iterator[bytes]:
        number = written = 0
        while written < size:
            yield (piece := make(number))
            number, written = number + 1, written + len(piece)
        yield END

    return bomb


def repeated(make: Callable[[], bytes]) -> Callable[[int], Iterator[bytes]]:
    """Return a bomb of one piece again and again."""

    def bomb(size: int) -> Iterator[bytes]:
        piece = make()
        return many(lambda _: piece)(size)

    return bomb


def sparse_by_blocks(size: int) -> Iterator[bytes]:
    """A GNU sparse file whose map goes on for the whole size."""
    block = bytearray(header("0.jpg", 3, b"S"))
    block[482], block[148:156] = 1, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    yield bytes(block)
    for _ in range(size >> 20):
        yield (b"00000000001\0" * 42 + b"\1" * 8) * 2048
    yield b"\0" * 512 + b"abc".ljust(512, b"\0") + END


def sparse_by_digits(size: int) -> Iterator[bytes]:
    """A PAX 1.0 sparse file whose map stands in its content."""
    keys = (
        record(b"GNU.sparse.major", b"1")
        + record(b"GNU.sparse.minor", b"0")
        + record(b"GNU.sparse.name", b"0.jpg")
    )
    yield member("pax", keys, b"x") + header("0.jpg", size >> 20 << 20) + b"99999999\n" * 1
    yield b"1\n" * ((size >> 20 << 20) // 2 - 5) + b"\n" + END


def jpeg_with(extra: bytes) -> bytes:
    jpeg = encode()
    return jpeg[:20] + extra + jpeg[20:]


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg_of_scans(count: int, side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (side, side), 90).save(buffer, "JPEG", progressive=True)
    jpeg = buffer.getvalue()
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * count + jpeg[-2:]


def png_with(name: bytes, data: bytes, count: int) -> bytes:
    png = encode(kind="PNG")
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return png[:33] + chunk * count + png[33:]


def webp_with(count: int) -> bytes:
    webp = encode(kind="WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    webp += (b"abcd" + struct.pack("<I", 2) + b"xy") * count
    return webp[:4] + struct.pack("<I", len(webp) - 8) + webp[8:]


def gif_with(extension: bytes) -> bytes:
    gif = encode(kind="GIF")
    place = 13 + (3 << ((gif[10] & 7) + 1))
    return gif[:place] + extension + gif[place:]


def pixels(width: int, height: int) -> bytes:
    """A PNG of a few hundred kilobytes with as many pixels as the cap allows."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    packer, line = zlib.compressobj(9), b"\0" * (1 + 3 * width)
    body = b"".join([packer.compress(line) for _ in range(height)]) + packer.flush()
    start = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    )
    return start + chunk(b"IDAT", body) + chunk(b"IEND", b"")


EXIF = segment(0xE1, b"Exif\0\0" + b"x" * 65_000)
PACKED = zlib.compress(b"0" * 1_000_000)
DIRECTORY = segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 5_000) + b"".join(
    struct.pack(">HHLL", tag, 7, 60_000, 8) for tag in range(5_000)))  # fmt: skip
LISTS = b"[" + b"[]," * 1_300_000 + b"0]"
LETTER = "\N{SAUROPOD}".encode()

# name: (bomb, the reasons one of which must be among those of the shard or its samples)
BOMBS: dict[str, tuple[Callable[[int], Iterator[bytes]], set[str]]] = {
    "digits of a PAX length": (
        of(lambda: member("pax", b"9" * 1_000_000 + b" a=b\n", b"x")),
        DAMAGED,
    ),
    "digits of a PAX size": (
        of(lambda: member("pax", record(b"size", b"9" * 1_000_000), b"x")),
        DAMAGED,
    ),
    "digits of a sparse size": (
        of(lambda: member("pax", record(b"GNU.sparse.size", b"9" * 999_000), b"x")),
        {"unsafe_member"},
    ),
    "global keys": (
        many(
            lambda n: member(
                "pax", b"".join(record(b"k%d.%d" % (n, i), b"v") for i in range(200)), b"g"
            )
        ),
        DAMAGED,
    ),
    "global keys without end": (
        of(lambda: member("pax", b"".join(record(b"k%d" % i, b"") for i in range(60_000)), b"g")),
        DAMAGED,
    ),
    "a map of a sparse file in blocks": (sparse_by_blocks, {"unsafe_member"}),
    "a map of a sparse file in its content": (sparse_by_digits, {"unsafe_member"}),
    "maps of sparse files in keys": (
        many(
            lambda n: (
                member("pax", record(b"GNU.sparse.map", b"1," * 250_000 + b"1"), b"x")
                + member("0.jpg", b"x")
            )
        ),
        {"unsafe_member"},
    ),
    "headers of names without a member": (
        repeated(lambda: member("pax", record(b"path", b"0.jpg"), b"x")),
        DAMAGED,
    ),
    "long names one after the other": (
        repeated(lambda: member("l", b"n" * 4000 + b".jpg", b"L")),
        DAMAGED,
    ),
    "long targets one after the other": (
        repeated(lambda: member("l", b"t" * 100_000, b"K")),
        DAMAGED,
    ),
    "names of a megabyte": (
        repeated(lambda: member("l", b"n" * 1_000_000, b"L") + member("0.jpg", b"x")),
        DAMAGED,
    ),
    "keys of four thousand bytes": (
        many(
            lambda n: member("l", b"%d" % n + b"n" * 4000 + b".jpg", b"L") + member("0.jpg", b"x")
        ),
        {"image_corrupt"},
    ),
    "empty members": (many(lambda n: header(f"{n}.jpg")), DAMAGED),
    "folders": (many(lambda n: header(f"{n}.d", kind=b"5")), DAMAGED),
    "links": (many(lambda n: header(f"{n}.jpg", kind=b"2")), DAMAGED),
    "members of one byte": (many(lambda n: member(f"{n}.jpg", b"x")), {"image_corrupt"}),
    "members of one key": (many(lambda n: member(f"0.{n}", b"x")), {"image_missing"}),
    "jsons of empty lists": (
        many(lambda n: member(f"{n}.json", b'{"a":' + LISTS + b"}")),
        {"metadata_invalid"},
    ),
    "jsons of many keys": (
        many(
            lambda n: member(
                f"{n}.json", b"{" + b",".join(b'"%d":1.5' % i for i in range(300_000)) + b"}"
            )
        ),
        {"image_missing"},
    ),
    "jsons of digits": (
        many(lambda n: member(f"{n}.json", b'{"a":' + b"9" * 4_000_000 + b"}")),
        {"metadata_invalid"},
    ),
    "jsons of depth": (
        many(lambda n: member(f"{n}.json", b'{"a":' * 50_000)),
        {"metadata_invalid"},
    ),
    "captions of a million letters": (
        many(lambda n: member(f"{n}.txt", LETTER * 1_000_000)),
        {"image_missing"},
    ),
    "lists of captions": (
        many(lambda n: member(f"{n}.json", b'{"caption":[' + b'"ab",' * 500_000 + b'"c"]}')),
        {"image_missing"},
    ),
    "three thousand scans": (of(lambda: member("1.jpg", jpeg_of_scans(3_000, 3_000))), COSTLY),
    "a thousand EXIF segments": (of(lambda: member("1.jpg", jpeg_with(EXIF * 1_000))), COSTLY),
    "an EXIF directory that points at one place": (
        of(lambda: member("1.jpg", jpeg_with(DIRECTORY * 3))),
        set(),
    ),
    "comments of a JPEG": (
        of(lambda: member("1.jpg", jpeg_with(segment(0xFE, b"") * 1_000_000))),
        COSTLY,
    ),
    "bytes between segments": (of(lambda: member("1.jpg", jpeg_with(b"\0" * 20_000_000))), COSTLY),
    "chunks of a PNG": (of(lambda: member("1.png", png_with(b"prIv", b"", 500_000))), COSTLY),
    "packed texts of a PNG": (
        many(lambda n: member(f"{n}.png", png_with(b"zTXt", b"k\0\0" + PACKED, 200))),
        COSTLY,
    ),
    "chunks of a WebP": (of(lambda: member("1.webp", webp_with(2_000_000))), set()),
    "comments of a GIF": (
        of(lambda: member("1.gif", gif_with(b"!\xfe" + b"\1c" * 10_000_000 + b"\0"))),
        COSTLY,
    ),
    "pictures of the cap's size": (
        # Given up, or decoded in time, as a fast machine does: either ends within the limits that
        # the test sets.
        lambda size: repeated(lambda: member("0.png", pixels(9_000, 9_900)))(2 << 20),
        {"shard_too_costly", "blank_image"},
    ),
}
