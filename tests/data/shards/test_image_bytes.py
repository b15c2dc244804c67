"""Files made to hold a decoder up are refused before it sees them; pictures of every encoder
pass.
"""

import io
import struct
import time
import zlib

import pytest
from PIL import Image

from corpus import encode
from dcr.data.shards.image_bytes import CostlyImage, check_image_bytes


def segments(marker: bytes, data: bytes, count: int) -> bytes:
    return (b"\xff" + marker + struct.pack(">H", len(data) + 2) + data) * count


def with_segments(extra: bytes) -> bytes:
    jpeg = encode()
    return jpeg[:20] + extra + jpeg[20:]  # behind JFIF's segment


def with_scans(count: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    jpeg = encode(progressive=True)
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * count + jpeg[-2:]


def gif_with(extension: bytes) -> bytes:
    gif = encode(kind="GIF")
    place = 13 + (3 << ((gif[10] & 7) + 1))
    return gif[:place] + extension + gif[place:]


def with_chunks(name: bytes, data: bytes, count: int) -> bytes:
    png = encode(kind="PNG")
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return png[:33] + chunk * count + png[33:]


@pytest.mark.parametrize(
    "content",
    [
        with_segments(segments(b"\xe1", b"Exif\0\0" + b"x" * 65_000, 17)),
        with_segments(segments(b"\xe5", b"", 100_000)),
        with_segments(segments(b"\xfe", b"a comment", 100_000)),
        with_segments(b"\xff\xd0" * 100_000),
        with_segments(b"junk" * 100_000),
        with_segments(b"\xff" * 100_000),
        with_scans(3_000),
        with_scans(3_000).replace(b"\xff\xda", segments(b"\xfe", b"", 3) + b"\xff\xda"),
        with_chunks(b"tEXt", b"k\0v", 100_000),
        with_chunks(b"zTXt", b"k\0\0" + zlib.compress(b"0" * 100_000), 17),
        with_chunks(b"prIv", b"", 100_000),
        gif_with(b"!\xfe" + b"\1c" * 1_000_000 + b"\0"),
        gif_with(b"!\xfe\1c\0" * 100_000),
        gif_with(b"!\xff" + b"\1c" * 1_000_000 + b"\0"),
        gif_with(b"\0" * 1_000_000),
    ],
    ids=lambda content: str(len(content)),
)
def test_files_made_to_cost_are_refused_within_the_time_of_a_decode(content):
    start = time.process_time()
    with pytest.raises(CostlyImage):
        check_image_bytes(content)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    "content",
    [
        encode(),
        encode(progressive=True),
        encode(kind="PNG"),
        encode(kind="WEBP"),
        encode(kind="GIF"),
        encode(kind="BMP"),
        encode(mode="CMYK"),
        encode(exif=Image.Exif().tobytes() + b"Exif\0\0" * 99),
        encode((3000, 2000), kind="PNG"),
        encode((3000, 2000), progressive=True, quality=95),
        with_segments(segments(b"\xe1", b"Exif\0\0" + b"x" * 65_000, 3)),
        with_segments(
            segments(b"\xe1", b"http://ns.adobe.com/xmp/extension/\0" + b"x" * 65_000, 160)
        ),
        with_segments(segments(b"\xe2", b"ICC_PROFILE\0\1\1" + b"x" * 65_000, 9)),
        with_scans(20),
        gif_with(b"!\xff\x0bXMP DataXMP" + (b"\x50" + b"x" * 80) * 3000 + b"\0"),
        gif_with(b"!\xfe\x08a remark\0" * 20),
        encode((1500, 1500), kind="GIF"),
        with_chunks(b"zTXt", b"k\0\0" + zlib.compress(b"0" * 100_000), 16),
        # a film behind the picture, as phones append
        encode() + bytes(range(256)) * 10 + b"\xff\xda" * 5_000,
        encode(progressive=True) + b"\xff\xda" * 5_000,
        with_segments(segments(b"\xe3", b"\xff\xda" * 5_000, 1)),
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xda",
    ],
    ids=lambda content: str(len(content)),
)
def test_pictures_and_bytes_that_are_none_pass(content):
    check_image_bytes(content)


def test_animations_of_many_frames_pass():
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in range(1, 60)]
    Image.new("RGB", (64, 64)).save(buffer, "PNG", save_all=True, append_images=frames)
    check_image_bytes(buffer.getvalue())


def test_checking_costs_less_than_a_fiftieth_of_decoding():
    content = encode((384, 384), quality=90)

    def seconds(function):
        times = []
        for _ in range(20):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(lambda: check_image_bytes(content)) < 0.02 * seconds(
        lambda: Image.open(io.BytesIO(content)).load()
    )
