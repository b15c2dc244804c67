"""What an encoded image costs to read, counted in its bytes before a decoder sees them.

Decoders bound their work by the pixels that a header declares, and some of it grows with other
things: Pillow handles each segment of a JPEG and each chunk of a PNG in Python (and joins EXIF
segments in quadratic time), and libjpeg goes through all pixels again for every scan of a
progressive JPEG. A picture has few of these for its size; files made to hold a machine up have
thousands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Parts (segments, chunks, single bytes between them) of any image, and one more for every so many
# bytes. Encoders cut the pixels of a PNG into chunks of 8 KiB or more, and profiles and previews in
# JPEGs into segments of 64 KiB.
_PARTS = 256
_BYTES_PER_PART = 256
_EXIF_SEGMENTS = 16  # of 64 KiB; almost all files have one
_PACKED_TEXTS = 16  # of a PNG: profile, texts; a kilobyte unpacks to a megabyte
_GIF_BLOCKS = 4096
_BYTES_PER_GIF_BLOCK = 64  # pixels take a block for 255 bytes, XMP one for a hundred
_SCANS = 32  # libjpeg writes 10, optimizers up to about 20
_PNG = b"\x89PNG\r\n\x1a\n"
_SOS = 0xDA
_EOI = 0xD9
_EXIF = b"Exif\0\0"
_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length
_ONE_SCAN_FRAMES = (0xC0, 0xC1)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_IN_SCAN = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # a marker that ends entropy-coded data


class CostlyImage(ValueError):
    """An image file has more segments, chunks or scans than any picture needs."""


def check_image_bytes(content: bytes) -> None:
    """Refuse encoded ``content`` whose structure is made to cost time.

    The check takes microseconds. Whether the bytes are a sound image is left to the decoder.

    Raises:
        CostlyImage: too many segments (JPEG, before the first scan), scans (JPEG), chunks (PNG) or
            blocks (GIF).
    """
    if content.startswith(b"\xff\xd8\xff"):
        _check_jpeg(content)
    elif content.startswith(_PNG):
        _check_png(content)
    elif content.startswith(b"GIF8"):
        _check_gif(content)


def find_frame_and_scan(content: bytes) -> tuple[int, int] | None:
    """Return where a JPEG's size stands, and where its coded picture begins; None without either.

    Both are in bytes: of the segment that has the size, and behind that of the first scan.

    Args:
        content: a JPEG that `check_image_bytes` lets pass.
    """
    frame = None
    for place, marker in _segments(content):
        if marker == _SOS:
            return None if frame is None else (frame, _next(content, place))
        frame = place if marker in _FRAMES else frame
    return None


def _segments(content: bytes) -> Iterator[tuple[int, int | None]]:
    """Yield place and marker of a JPEG's parts as Pillow walks them, up to the first scan.

    A byte between segments is a part, too, without a marker.
    """
    place = 2
    marker = None
    while place + 4 <= len(content) and marker != _SOS:
        is_between = content[place] != 0xFF or content[place + 1] in (0x00, 0xFF)
        marker = None if is_between else content[place + 1]
        yield place, marker
        place = place + 1 if is_between else _next(content, place)


def _check_jpeg(content: bytes) -> None:
    exif = 0
    frame = None
    most = _most_parts(content)
    for parts, (place, marker) in enumerate(_segments(content), 1):
        if parts > most:
            raise CostlyImage(f"more than {most} segments before the first scan")
        if marker == _SOS:
            return _check_scans(content, place, frame)
        if marker in _FRAMES:
            frame = marker, content[place + 9 : place + 10]
        exif += marker == 0xE1 and content.startswith(_EXIF, place + 4)
        if exif > _EXIF_SEGMENTS:
            raise CostlyImage(f"more than {_EXIF_SEGMENTS} EXIF segments")


def _check_scans(content: bytes, place: int, frame: tuple[int, bytes] | None) -> None:
    if (
        frame is not None
        and frame[0] in _ONE_SCAN_FRAMES
        and frame[1] == content[place + 4 : place + 5]
    ):
        return  # the first scan has all components, and decoders stop behind it
    # These are markers, and perhaps bytes of metadata that look like them.
    if content.count(b"\xff\xda", place) <= _SCANS:
        return
    scans = 1
    parts = 0
    most = _most_parts(content)
    while (found := _IN_SCAN.search(content, _next(content, place))) is not None:
        place = found.start()
        parts += 1
        marker = content[place + 1]
        if marker == _EOI:
            return
        scans += marker == _SOS
        if scans > _SCANS or parts > most:
            raise CostlyImage(f"more than {_SCANS} scans, or {most} segments between them")


def _check_png(content: bytes) -> None:
    place = len(_PNG)
    parts = 0
    packed = 0
    most = _most_parts(content)
    while place + 8 <= len(content) and (name := content[place + 4 : place + 8]) != b"IEND":
        parts += 1
        packed += name in (b"zTXt", b"iTXt", b"iCCP")
        if parts > most or packed > _PACKED_TEXTS:
            raise CostlyImage(f"more than {most} chunks, or {_PACKED_TEXTS} packed texts")
        place += 12 + int.from_bytes(content[place : place + 4], "big")


def _check_gif(content: bytes) -> None:
    """Walk the blocks to the second picture, as Pillow does to tell whether there is one."""
    place = 13 + _palette_bytes(content[10:11])
    pictures = 0
    most = _GIF_BLOCKS + len(content) // _BYTES_PER_GIF_BLOCK
    blocks = comments = 0
    while place < len(content) and content[place] != 0x3B and pictures < 2:
        comment = content[place : place + 2] == b"!\xfe"
        pictures += content[place] == 0x2C
        if content[place] not in (0x21, 0x2C):
            place += 1
            blocks += 1
        else:
            place += (
                2
                if content[place] == 0x21
                else 11 + _palette_bytes(content[place + 9 : place + 10])
            )
            while place < len(content) and content[place] and blocks <= most:
                place = place + 1 + content[place]
                blocks += 1
                comments += comment
            place += 1
        if blocks > most or comments > _PARTS:
            raise CostlyImage(f"more than {most} blocks, or {_PARTS} of comments")


def _palette_bytes(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _next(content: bytes, place: int) -> int:
    """Return where a JPEG's segment, whose marker stands at ``place``, ends."""
    if content[place + 1] in _ALONE:
        return place + 2
    return place + 2 + max(2, int.from_bytes(content[place + 2 : place + 4], "big"))


def _most_parts(content: bytes) -> int:
    return _PARTS + len(content) // _BYTES_PER_PART
