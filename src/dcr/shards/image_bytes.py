"""What an encoded image costs to read, counted in its bytes before a decoder sees them.

Decoders bound their work by the pixels that a header declares, and some of it grows with other things: Pillow handles
each segment of a JPEG and each chunk of a PNG in Python (and joins EXIF segments in quadratic time), and libjpeg goes
through all pixels again for every scan of a progressive JPEG. A picture has few of these for its size; files made to
hold a machine up have thousands.
"""

from __future__ import annotations

import re

# Parts (segments, chunks, single bytes between them) of any image, and one more for every so many bytes. Encoders cut
# the pixels of a PNG into chunks of 8 KiB or more, and profiles and previews in JPEGs into segments of 64 KiB.
_PARTS, _BYTES_PER_PART = 256, 256
_EXIF_SEGMENTS = 16  # of 64 KiB; almost all files have one
_SCANS = 32  # libjpeg writes 10, optimizers up to about 20
_PNG = b"\x89PNG\r\n\x1a\n"
_SOS, _EOI, _EXIF = 0xDA, 0xD9, b"Exif\0\0"
_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length
_ONE_SCAN_FRAMES = (0xC0, 0xC1)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_IN_SCAN = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # a marker that ends entropy-coded data


class CostlyImage(ValueError):
    """An image file has more segments, chunks or scans than any picture needs."""


def check_image_bytes(content: bytes) -> None:
    """Refuse an encoded image whose structure is made to cost time; takes microseconds for others.

    Whether the bytes are a sound image is left to the decoder.

    Raises:
        CostlyImage: too many segments (JPEG, before the first scan), scans (JPEG) or chunks (PNG) for its size.
    """
    if content.startswith(b"\xff\xd8\xff"):
        _check_jpeg(content)
    elif content.startswith(_PNG):
        _check_png(content)


def _check_jpeg(content: bytes) -> None:
    """Walk the segments as Pillow does, to the first scan."""
    place, parts, exif, frame, most = 2, 0, 0, None, _most_parts(content)
    while place + 4 <= len(content):
        parts += 1
        if parts > most:
            raise CostlyImage(f"more than {most} segments before the first scan")
        if content[place] != 0xFF or content[place + 1] in (0x00, 0xFF):  # bytes between segments
            place += 1
            continue
        marker = content[place + 1]
        if marker == _SOS:
            return _check_scans(content, place, frame)
        if marker in _FRAMES:
            frame = marker, content[place + 9 : place + 10]
        exif += marker == 0xE1 and content.startswith(_EXIF, place + 4)
        if exif > _EXIF_SEGMENTS:
            raise CostlyImage(f"more than {_EXIF_SEGMENTS} EXIF segments")
        place = _next(content, place)


def _check_scans(content: bytes, place: int, frame: tuple[int, bytes] | None) -> None:
    if frame is not None and frame[0] in _ONE_SCAN_FRAMES and frame[1] == content[place + 4 : place + 5]:
        return  # the first scan has all components, and decoders stop behind it
    if content.count(b"\xff\xda", place) <= _SCANS:  # markers, and perhaps bytes of metadata that look like them
        return
    scans, parts, most = 1, 0, _most_parts(content)
    while (found := _IN_SCAN.search(content, _next(content, place))) is not None:
        place, parts = found.start(), parts + 1
        marker = content[place + 1]
        if marker == _EOI:
            return
        scans += marker == _SOS
        if scans > _SCANS or parts > most:
            raise CostlyImage(f"more than {_SCANS} scans, or {most} segments between them")


def _check_png(content: bytes) -> None:
    place, parts, most = len(_PNG), 0, _most_parts(content)
    while place + 8 <= len(content) and content[place + 4 : place + 8] != b"IEND":
        parts += 1
        if parts > most:
            raise CostlyImage(f"more than {most} chunks")
        place += 12 + int.from_bytes(content[place : place + 4], "big")


def _next(content: bytes, place: int) -> int:
    """Return where a JPEG's segment, whose marker stands at ``place``, ends."""
    if content[place + 1] in _ALONE:
        return place + 2
    return place + 2 + max(2, int.from_bytes(content[place + 2 : place + 4], "big"))


def _most_parts(content: bytes) -> int:
    return _PARTS + len(content) // _BYTES_PER_PART
